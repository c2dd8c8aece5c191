//! systemd's watchdog: it hears from the daemon as long as the daemon answers.

use std::path::Path;

use sd_notify::NotifyState;

use super::serve::{notify, ping};

/// Tells systemd again and again that the daemon answers; never returns. Where it is not asked to,
/// or does not know its own socket, it does nothing.
pub(super) async fn feed(address: Option<&Path>) {
    let (Some(period), Some(address)) = (sd_notify::watchdog_enabled(), address) else {
        return std::future::pending().await;
    };
    loop {
        // sd_watchdog_enabled(3): half the time, so that one may be late.
        tokio::time::sleep(period / 2).await;
        match ping(address).await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            Err(e) => {
                tracing::error!(error = %format!("{e:#}"), "systemd is not told that all is well")
            }
        }
    }
}
