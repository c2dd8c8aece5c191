//! Questions that change nothing, asked once more where the answer may be another: a few times, with
//! pauses that become longer. What a server says for good is never asked again.

use std::time::Duration;

use crate::client::Pace;

/// How often something is asked in all.
const ATTEMPTS_MAX: u32 = 4;

/// How often something was asked.
#[derive(Debug)]
pub(crate) struct Again {
    pause: Duration,
    asked: u32,
}

impl Again {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pause: pace.first_pause,
            asked: 0,
        }
    }

    /// After all servers failed: waits as long as it takes and tells whether to ask them once more.
    /// `passes` is what `Failure::passes_there` says of one of them.
    pub(crate) async fn after(&mut self, passes: Option<Option<Duration>>) -> bool {
        self.asked += 1;
        let Some(wanted) = passes.filter(|_| self.asked < ATTEMPTS_MAX) else {
            return false;
        };
        tokio::time::sleep(wanted.unwrap_or(self.pause)).await;
        self.pause *= 2;
        true
    }
}
