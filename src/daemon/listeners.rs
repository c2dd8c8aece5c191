//! Where the daemon listens: what systemd handed over, and its own sockets.
//!
//! Its own outlive it where containers have them mounted: their conmons hold them, the next daemon takes
//! them over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use engine::ApiSocket;
use socket::{Access, Listener};

use super::settings::Settings;

/// All sockets of a daemon.
#[derive(Debug)]
pub(super) struct Listeners {
    /// They.
    pub(super) all: Vec<Listener>,
    /// systemd holds every one: it starts a daemon that has ended.
    pub(super) is_activated: bool,
}

impl Listeners {
    /// Listens where systemd does not. To be called when the run root is ours.
    ///
    /// # Errors
    /// When somebody else listens there, or the host does not let us.
    pub(super) fn open(handed_over: Vec<Listener>, settings: &Settings) -> Result<Self> {
        let mut all = handed_over;
        let mut is_activated = !all.is_empty();
        let first = all.is_empty().then_some(&settings.socket);
        for path in first.into_iter().chain(&settings.docker_socket) {
            // One of two settings may be a link to the other, too.
            if all.iter().any(|listener| listener.is_at(path)) {
                continue;
            }
            all.push(bind(path, settings)?);
            is_activated = false;
        }
        Ok(Self { all, is_activated })
    }

    /// Where the daemon asks itself whether it answers; `None` when no socket has a file.
    pub(super) fn address(&self) -> Option<PathBuf> {
        self.all.iter().find_map(Listener::path)
    }

    /// What conmons are to hold whose containers have it mounted.
    pub(super) fn api_sockets(&self) -> Vec<ApiSocket> {
        let own = self.all.iter().filter_map(|listener| {
            let (file, share) = (listener.file()?, listener.share());
            let copy = Arc::new(move || share.copy());
            Some(ApiSocket { file, copy })
        });
        own.collect()
    }
}

fn bind(path: &Path, settings: &Settings) -> Result<Listener> {
    let mut access = Access::default();
    if let Some(group) = &settings.socket_group {
        let gid = sys::host::group_id(group).context("cannot set the socket's group")?;
        access.group = Some(gid);
    }
    let find = |is_it: &dyn Fn(std::os::fd::BorrowedFd<'_>) -> bool| {
        engine::held_socket(&settings.run_root, is_it)
    };
    Ok(Listener::bind_or_take(path, access, &find)?)
}
