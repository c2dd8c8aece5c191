//! Attaching clients to a session's streams: from now on, from an offset on, or to what is kept.

use std::sync::Arc;

use model::{Action, Error, Result};
use streams::detach::{DEFAULT_KEYS, Detector};
use streams::{AttachInput, AttachOutput, Attachment, Form, Want};
use sys::dir_watch::Watcher;

use crate::Inner;
use crate::kept::Kept;
use crate::session::Session;

/// A client of a session's streams, from now on. Raw where the client says it has a terminal,
/// whatever the session has, as in Docker.
pub(crate) fn attach_to(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    raw: bool,
) -> Result<Attachment> {
    let live = session.hub.subscribe(session.wanted())?;
    let output = AttachOutput::new(None, Some(live), Form::of(session.spec.tty, raw));
    attachment(execs, session, raw, output, None)
}

/// A client of a session's streams that has some of them.
pub(crate) fn attach_since(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    since: u64,
) -> Result<Attachment> {
    let tty = session.spec.tty;
    let (live, begin) = session.hub.subscribe_since(since)?;
    let output = AttachOutput::new(None, Some(live), Form::of(tty, tty));
    attachment(execs, session, tty, output, Some(begin))
}

/// What came of an attaching, unless the session is over. Asked after it: one that ends from then
/// on ends the attachment.
pub(crate) fn while_it_runs(session: &Session, attached: Result<Attachment>) -> Result<Attachment> {
    match session.state().ended() {
        Some(_) => Err(Error::conflict(format!("exec {} is over", session.id))),
        None => attached,
    }
}

/// A client of a kept session: it reads the log, which has all that the hub has.
pub(crate) async fn attach_to_kept(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    kept: &Kept,
    since: u64,
    watcher: Option<&Watcher>,
) -> Result<Attachment> {
    let tty = session.spec.tty;
    // The hub is connected for those who are there for stdin alone.
    let live = session.hub.subscribe(Want {
        stdout: false,
        stderr: false,
    })?;
    // Asked after: one that ends from now on ends the subscription.
    let live = session.state().ended().is_none().then_some(live);
    let (log, begin) = kept.read(since, !tty, watcher).await?;
    let output = AttachOutput::new(Some(log), live, Form::of(tty, tty));
    attachment(execs, session, tty, output, Some(begin))
}

fn attachment(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    raw: bool,
    output: AttachOutput,
    begins_at: Option<u64>,
) -> Result<Attachment> {
    let spec = &session.spec;
    let keys = match &spec.detach_keys {
        Some(keys) => streams::detach::parse(keys)?,
        None => DEFAULT_KEYS.to_vec(),
    };
    let writer = spec.stdin.then(|| session.hub.stdin()).flatten();
    let detector = spec.tty.then(|| Detector::new(&keys));
    let input = writer.map(|writer| {
        let (execs, session) = (execs.clone(), session.clone());
        AttachInput::new(writer, detector).on_detach(move || {
            drop(tokio::spawn(async move {
                execs.tell(&session, &Action::ExecDetach).await;
            }));
        })
    });
    Ok(Attachment {
        tty: raw,
        output,
        input,
        begins_at,
    })
}
