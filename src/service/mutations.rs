//! Mutations run to their end, also when the caller goes away.
//!
//! A client that disconnects drops the handler. Without this, the statement would commit, and neither the caches nor the
//! audit log would learn of it.

use std::future::Future;
use std::panic;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::lifecycle::Lifecycle;

/// Runs `mutation` as a task of `lifecycle` and waits for it. Once this was polled, the mutation ends even if the caller no
/// longer waits, and a stop of the lifecycle waits for it. A long one watches the token and ends between two steps.
pub(super) async fn run_to_end<F, T>(
    lifecycle: &Lifecycle,
    mutation: impl FnOnce(CancellationToken) -> F,
) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let task = lifecycle.spawn(|stop| mutation(stop).in_current_span());
    match task.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        // The panic is the caller's, as if there were no task.
        Err(Ok(panic)) => panic::resume_unwind(panic),
        // The runtime is ending, and the caller with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
