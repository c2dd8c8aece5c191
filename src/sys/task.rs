//! Work in tasks and threads of its own, whose end is told as a result.

use model::{Error, Result};

/// Runs a change to its end in a task of its own, whether or not its client stays.
///
/// # Errors
/// The change's own; System when the task panicked.
pub async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(change)
        .await
        .unwrap_or_else(|e| Err(early(&e)))
}

/// Runs work that blocks off the async threads.
///
/// # Errors
/// The work's own; System when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(early(&e)))
}

fn early(e: &tokio::task::JoinError) -> Error {
    Error::system(format!("a task of the daemon ended early: {e}"))
}
