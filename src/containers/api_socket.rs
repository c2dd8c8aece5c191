//! The daemon's own socket in a container: it must answer again with the next daemon.
//!
//! A bind mount shows the socket's file, whichever daemon serves it. So a conmon whose container has one
//! mounted holds a copy of the listening socket, and the next daemon takes it over. Where a directory is
//! mounted a new file is seen, and nothing need be held.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use model::MountSource;

use crate::{ContainerView, Shared};

/// A socket that this daemon listens on, and has bound itself.
#[derive(Clone)]
pub struct ApiSocket {
    /// Device and inode of its file.
    pub file: (u64, u64),
    /// Makes a copy of the listening socket; `None` at the daemon's end.
    pub copy: Arc<dyn Fn() -> std::io::Result<Option<OwnedFd>> + Send + Sync>,
}

impl fmt::Debug for ApiSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSocket")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Copies of the listening sockets whose files a container has mounted. One that cannot be made is
    /// logged: the container runs without.
    pub(crate) async fn api_sockets_of(&self, view: &ContainerView) -> Vec<OwnedFd> {
        if self.api_sockets.is_empty() {
            return Vec::new();
        }
        let sources = view.spec.mounts.iter().filter_map(|mount| {
            let MountSource::Bind { path, .. } = &mount.source else {
                return None;
            };
            Some(path.clone())
        });
        let sources: Vec<String> = sources.collect();
        let look = move || {
            let found = sources.iter().map(std::fs::metadata);
            let files = found.filter_map(Result::ok).map(|at| (at.dev(), at.ino()));
            Ok(files.collect::<Vec<_>>())
        };
        let files = crate::blocking(look).await.unwrap_or_default();
        let shown = |socket: &&ApiSocket| files.contains(&socket.file);
        let copy = |socket: &ApiSocket| {
            let copied = (socket.copy)();
            copied.unwrap_or_else(|e| {
                let id = view.id.short();
                tracing::warn!(id, error = %e, "its mount of the daemon's socket ends with the daemon");
                None
            })
        };
        self.api_sockets
            .iter()
            .filter(shown)
            .filter_map(copy)
            .collect()
    }
}
