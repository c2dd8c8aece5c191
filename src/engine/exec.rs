//! Exec sessions, found through their containers. What a session is and does is `execs`'; here it
//! is asked whether its container lets it.

use std::time::Duration;

use execs::Target;
use model::{ContainerId, ExecId, ExecSpec, Result, Signal, WaitOutcome};
use rules::Operation;
use streams::Attachment;

use crate::container::{check, check_as};
use crate::{Engine, ExecView, StartExec};

impl Engine {
    /// Makes a session in a running container. Nothing runs yet.
    ///
    /// # Errors
    /// 404; 409 when the container does not run or is paused; 400 for an empty command; too many
    /// sessions.
    pub async fn create_exec(&self, container: &str, mut spec: ExecSpec) -> Result<ExecId> {
        let view = self.container(container)?;
        check_as(&view, container, Operation::Exec)?;
        if spec.user.is_empty() {
            spec.user.clone_from(&view.spec.user);
        }
        self.shared.execs.create(view.id.clone(), spec).await
    }

    /// One session.
    ///
    /// # Errors
    /// `No such exec instance: x`.
    pub fn exec(&self, id: &str) -> Result<ExecView> {
        self.shared.execs.find(id)
    }

    /// The sessions of a container that are not over, for its inspect.
    pub fn open_execs(&self, container: &ContainerId) -> Vec<ExecId> {
        self.shared.execs.open_ids(container)
    }

    /// The sessions of a container, oldest first.
    ///
    /// # Errors
    /// 404.
    pub fn container_execs(&self, container: &str) -> Result<Vec<ExecView>> {
        Ok(self.shared.execs.of(&self.container(container)?.id))
    }

    /// Whether a session can be started now: what is answered before the connection is taken
    /// over.
    ///
    /// # Errors
    /// 404; 409 when the container does not run or is paused.
    pub fn check_exec(&self, id: &str) -> Result<()> {
        self.target_of(id).map(drop)
    }

    /// Starts a session; see [`execs::Execs::start`].
    ///
    /// # Errors
    /// Those, and 409 when the container does not run or is paused.
    pub async fn start_exec(&self, id: &str, request: StartExec) -> Result<Option<Attachment>> {
        let target = self.target_of(id)?;
        self.shared.execs.start(id, target, request).await
    }

    /// Attaches to a session; see [`execs::Execs::attach`].
    ///
    /// # Errors
    /// Those.
    pub async fn attach_exec(&self, id: &str, since: Option<u64>) -> Result<Attachment> {
        self.shared.execs.attach(id, since).await
    }

    /// Changes the size of a session's terminal; before its start the size it will have.
    ///
    /// # Errors
    /// 404 when it is not there or over.
    pub async fn resize_exec(&self, id: &str, height: u16, width: u16) -> Result<()> {
        self.shared.execs.resize(id, height, width).await
    }

    /// A wait for a session's end.
    ///
    /// # Errors
    /// 404.
    pub fn wait_exec(&self, id: &str) -> Result<impl Future<Output = WaitOutcome> + Send + use<>> {
        self.shared.execs.wait(id)
    }

    /// Sends a signal to a session's process.
    ///
    /// # Errors
    /// 404; 409 when it does not run.
    pub async fn kill_exec(&self, id: &str, signal: Signal) -> Result<()> {
        self.shared.execs.kill(id, signal).await
    }

    /// Ends a session's process: SIGTERM, and SIGKILL when `grace` is over. One that has ended is
    /// no error.
    ///
    /// # Errors
    /// 404; 409 when it was not started; a process that survives SIGKILL.
    pub async fn stop_exec(&self, id: &str, grace: Duration) -> Result<()> {
        self.shared.execs.stop(id, grace).await
    }

    /// Forgets a session; with `force` its process is killed first.
    ///
    /// # Errors
    /// 404; 409 when it runs and `force` is not set.
    pub async fn remove_exec(&self, id: &str, force: bool) -> Result<()> {
        self.shared.execs.remove(id, force).await
    }

    /// The container of a session, when it takes one now.
    fn target_of(&self, id: &str) -> Result<Target> {
        let container = self.shared.execs.container_of(id)?;
        let view = self.container(container.as_str())?;
        check(&view, Operation::Exec)?;
        self.shared.target(&view)
    }
}
