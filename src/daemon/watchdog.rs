//! systemd's watchdog: it hears from the daemon as long as the daemon answers.

use std::path::Path;

use model::limits;
use sd_notify::NotifyState;
use web::serve::Activity;

use super::serve::{notify, ping};

/// Tells systemd again and again that the daemon answers; never returns. Where it is not asked to,
/// or does not know its own socket, it does nothing.
pub(super) async fn feed(address: Option<&Path>, activity: &Activity) {
    let (Some(period), Some(address)) = (sd_notify::watchdog_enabled(), address) else {
        return std::future::pending().await;
    };
    // Often enough that some may fail.
    let pause = period / 6;
    loop {
        tokio::time::sleep(pause).await;
        // With all places taken the next client waits by design, and so would we.
        let is_full = activity.open() >= limits::CONNECTIONS_MAX;
        let asked = tokio::time::timeout(pause, ping(address)).await;
        match asked {
            Ok(Ok(())) => notify(&[NotifyState::Watchdog]),
            _ if is_full => notify(&[NotifyState::Watchdog]),
            Ok(Err(e)) => tracing::error!(error = %format!("{e:#}"), "no answer to an own ping"),
            Err(_) => tracing::error!(?pause, "no answer to an own ping in time"),
        }
    }
}
