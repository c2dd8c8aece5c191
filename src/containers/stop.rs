//! Stopping and killing: signals through the pidfd, never a bare pid; deadlines, never polls.
//!
//! "Died meanwhile" is success at every step (the seed's `StopContainer`); the exit itself is
//! seen by `observe`, which answers everybody who waits.

use std::time::Duration;

use failpoint::Point;
use model::{Action, Error, Kind, Result, Signal, limits};
use rules::Operation;
use tokio::time::Instant;

use crate::actor::{Actor, AfterExit, Stopping, answer, kill_deadline};
use crate::handle::Reply;
use crate::refusal::check;
use crate::{Change, RemoveContainer, StopContainer};

impl Actor {
    /// Sends one signal. SIGKILL is answered when the container has ended (moby
    /// `containerKill`), so that it can be removed at once; the others as soon as they are sent.
    pub(crate) async fn kill(&mut self, signal: Signal, reply: Reply<()>) {
        let view = self.view();
        if let Err(e) = check(&view, Operation::Kill) {
            answer(reply, Err(e));
            return;
        }
        // Any other signal may be one the container lives on with.
        if signal == Signal::KILL || signal == view.spec.stop_signal {
            if self.call_off_start(None).await {
                answer(reply, Ok(()));
                return;
            }
            self.end_by_request().await;
        }
        if signal == Signal::KILL {
            if let Some(then) = self.place_after_exit(AfterExit::Killed(reply)) {
                self.after_exit.push(then);
                self.kill_now().await;
            }
            return;
        }
        let sent = self.send_signal(signal).await;
        // A signal that is meant to end it must reach it (moby `killWithSignal`).
        if sent.is_ok() && signal == view.spec.stop_signal {
            self.thaw_to_stop().await;
        }
        answer(reply, sent);
    }

    /// Begins a stop, or joins the one under way: the earlier deadline wins.
    pub(crate) async fn stop(&mut self, request: StopContainer, then: AfterExit) {
        let operation = match then {
            AfterExit::Restart(_) => Operation::Restart,
            _ => Operation::Stop,
        };
        let view = self.view();
        if let Err(e) = check(&view, operation) {
            refuse(then, e);
            return;
        }
        if self.call_off_start(Some(&Action::Stop)).await {
            if let AfterExit::Answer(reply) = then {
                answer(reply, Ok(Change::Done));
            }
            return;
        }
        let Some(then) = self.place_after_exit(then) else {
            return;
        };
        self.end_by_request().await;
        let signal = request.signal.unwrap_or(view.spec.stop_signal);
        let default_s = i64::try_from(limits::STOP_GRACE_DEFAULT.as_secs()).unwrap_or(10);
        let grace_s = request
            .timeout_s
            .or(view.spec.stop_timeout_s)
            .unwrap_or(default_s);
        self.after_exit.push(then);
        if grace_s == 0 || signal == Signal::KILL {
            self.kill_now().await;
            return;
        }
        // A negative grace waits for ever (Docker's -1).
        let grace = u64::try_from(grace_s).ok().map(Duration::from_secs);
        let deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
        if let Err(e) = self.send_signal(signal).await {
            tracing::warn!(error = %e, "the stop signal could not be sent");
        }
        self.thaw_to_stop().await;
        match &mut self.stopping {
            Some(Stopping { killed: true, .. }) => {}
            Some(under_way) => {
                let both = [under_way.deadline, deadline];
                under_way.deadline = both.into_iter().flatten().min();
            }
            None => {
                self.stopping = Some(Stopping {
                    deadline,
                    killed: false,
                })
            }
        }
    }

    /// The grace is over, or SIGKILL did not help.
    pub(crate) async fn escalate(&mut self) {
        if let Some(stopping) = self.stopping.as_mut().filter(|s| s.killed) {
            if self.task.as_ref().is_some_and(runtime::Task::has_ended) {
                // It did end; only conmon's word for it is still to come, or to be given up.
                stopping.deadline = None;
                return;
            }
            // Uninterruptible sleep: nothing more can be done. The container stays as it is and
            // its exit is still watched for.
            self.stopping = None;
            let message = format!(
                "container {} did not end within {} s of SIGKILL: a process in uninterruptible \
                 sleep (state D)?",
                self.handle.id(),
                limits::KILL_TIMEOUT.as_secs()
            );
            for waiting in std::mem::take(&mut self.after_exit) {
                refuse(waiting, Error::new(Kind::System, message.clone()));
            }
            return;
        }
        self.kill_now().await;
    }

    /// Kills, then removes once the exit was seen.
    pub(crate) async fn kill_for_removal(&mut self, request: RemoveContainer, reply: Reply<()>) {
        if let Err(e) = check(&self.view(), Operation::Remove { force: true }) {
            answer(reply, Err(e));
            return;
        }
        let Some(then) = self.place_after_exit(AfterExit::Remove(request, reply)) else {
            return;
        };
        self.after_exit.push(then);
        self.end_by_request().await;
        self.kill_now().await;
    }

    /// Gives `then` back when there is a place among those who wait for the exit; stops without
    /// a time limit, whose clients left long ago, must not pile up.
    fn place_after_exit(&self, then: AfterExit) -> Option<AfterExit> {
        if self.after_exit.len() < limits::CONTAINER_QUEUE_MAX {
            return Some(then);
        }
        refuse(then, self.too_many_wait());
        None
    }

    pub(crate) async fn kill_now(&mut self) {
        if let Err(e) = self.send_signal(Signal::KILL).await {
            tracing::warn!(error = %e, "SIGKILL could not be sent");
        }
        self.thaw_to_stop().await;
        // Those who ask again must not make the first wait longer.
        if !self.stopping.as_ref().is_some_and(|s| s.killed) {
            self.stopping = Some(Stopping {
                deadline: Some(kill_deadline()),
                killed: true,
            });
        }
    }

    /// A frozen process takes no signal, so a paused container is thawed after it was sent
    /// (moby `containerStop`). One that is being paused now is thawed when that is done.
    async fn thaw_to_stop(&mut self) {
        self.notice_freeze().await;
        if self.is_busy() {
            self.thaw_due = true;
        } else if self.view().state.running().is_some_and(|r| r.paused) {
            self.begin_thaw();
        }
    }

    /// Sends a signal and tells of it.
    async fn send_signal(&self, signal: Signal) -> Result<()> {
        // Between two runs there is nobody to get it.
        if self.task.is_none() {
            return Ok(());
        }
        self.signal(signal)?;
        drop(failpoint::reach(Point::StopSignalled).await);
        let event = self.event(&Action::Kill);
        self.tell(event.with("signal", signal.number().to_string()))
            .await;
        Ok(())
    }

    /// Through the pidfd. Without a pid namespace of its own the container's other processes
    /// would outlive its first one, so there all get it.
    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(task) = &self.task else {
            return Ok(());
        };
        if !self.view().spec.pid_mode.is_private() {
            task.signal_all(signal)
        } else {
            task.signal(signal)
        }
    }
}

/// Tells whoever waited for an exit that it is not to be had.
fn refuse(waiting: AfterExit, error: Error) {
    match waiting {
        AfterExit::Answer(reply) | AfterExit::Restart(reply) => answer(reply, Err(error)),
        AfterExit::Killed(reply) | AfterExit::Remove(_, reply) => answer(reply, Err(error)),
    }
}
