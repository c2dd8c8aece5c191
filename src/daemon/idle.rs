//! Ending when nobody needs the daemon: systemd, which holds the socket, starts it again.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use tokio::time::Instant;

use web::serve::Activity;

/// How often it is looked whether anybody is there.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// Resolves when for `patience` no client was there and no container needed the daemon.
pub(super) async fn idle_for(patience: Duration, activity: &Arc<Activity>, engine: &Engine) {
    let mut seen = activity.accepted();
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(LOOK_PERIOD.min(patience)).await;
        let now = activity.accepted();
        let needed = now != seen || activity.open() > 0 || engine.needs_daemon().is_some();
        if needed {
            since = Instant::now();
        }
        seen = now;
        if since.elapsed() >= patience {
            return;
        }
    }
}
