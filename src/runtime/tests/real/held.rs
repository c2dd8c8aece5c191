//! Sockets that conmon keeps for a container, and the container does not see.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use runtime::CreateTask;

use crate::bed::{Bed, exit_code};
use crate::crun;

/// What is open in the container's first process, without its streams.
fn open_in(process: model::Pid) -> Vec<PathBuf> {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", process.get())).unwrap();
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.parse::<u32>().unwrap()
    };
    let fds = fds.map(|fd| fd.unwrap().path());
    // The shell keeps none of its own open while it sleeps: its script is an argument.
    fds.filter(|path| number(path) > 2)
        .filter_map(|path| std::fs::read_link(path).ok())
        .collect()
}

async fn is_kept_until_the_end(bed: &Bed, mut request: CreateTask) {
    let path = bed.path("held.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (given, _other) = UnixStream::pair().unwrap();
    request.held = [OwnedFd::from(listener)].into();
    request.descriptors = [OwnedFd::from(given)].into();
    let id = request.id.clone();
    // The only copies left are those of the others.
    let mut task = bed.run(request).await;
    bed.printed(&id, "ready").await;
    UnixStream::connect(&path).expect("nobody holds the socket");
    let open = open_in(task.init().pid);
    let sockets = open
        .iter()
        .filter(|to| to.to_string_lossy().starts_with("socket:"));
    assert_eq!(sockets.count(), 1, "the one that it is given: {open:?}");
    bed.go(&id);
    assert_eq!(exit_code(&mut task).await, 0);
    // By the time that the end is told it is nobody's: the next run may want the same port.
    let refused = UnixStream::connect(&path).map_err(|e| e.kind());
    assert!(
        matches!(refused, Err(ErrorKind::ConnectionRefused)),
        "{refused:?}"
    );
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}

const SCRIPT: &str = "echo ready; while [ ! -e /go ]; do sleep 0.02; done";

#[tokio::test]
async fn conmon_keeps_a_socket_that_the_container_does_not_see() {
    let bed = Bed::new();
    is_kept_until_the_end(&bed, bed.sh(SCRIPT)).await;
}

#[tokio::test]
async fn so_it_does_under_crun() {
    let bed = crun::bed();
    let request = crun::with_crun(&bed, bed.sh(SCRIPT));
    is_kept_until_the_end(&bed, request).await;
}
