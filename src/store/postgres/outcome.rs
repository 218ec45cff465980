//! Whether a change may have been committed although no answer came.

use std::cell::Cell;
use std::future::Future;

use super::failure::Failure;
use crate::store::StoreError;

tokio::task_local! {
    /// Whether a statement was sent whose answer did not come.
    static UNANSWERED: Cell<bool>;
}

/// A statement is about to be sent.
pub(super) fn sent() {
    let _ = UNANSWERED.try_with(|unanswered| unanswered.set(true));
}

/// The server answered it: it was done, or refused.
pub(super) fn answered() {
    let _ = UNANSWERED.try_with(|unanswered| unanswered.set(false));
}

/// Runs an operation, and tells whether a statement of it was left without an answer.
pub(super) async fn watch<T>(operation: impl Future<Output = T>) -> (T, bool) {
    UNANSWERED
        .scope(Cell::new(false), async {
            let result = operation.await;
            (result, UNANSWERED.with(Cell::get))
        })
        .await
}

/// Runs a change. One that may have been committed, although it failed, is [`StoreError::OutcomeUnknown`]. Between the
/// statements of a transaction nothing is unknown: what was not committed is undone.
pub(super) async fn of_change<T>(
    change: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let (result, unanswered) = watch(change).await;
    result.map_err(|err| unknown_if(unanswered, err))
}

/// The same for a statement that others decide about by its failure.
pub(super) async fn of_write<T>(write: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let (result, unanswered) = watch(write).await;
    result.map_err(|failure| Failure {
        error: unknown_if(unanswered, failure.error),
        ..failure
    })
}

/// The error of a change that was left without an answer, or not.
pub(super) fn unknown_if(unanswered: bool, err: StoreError) -> StoreError {
    match err {
        StoreError::Unavailable(cause) if unanswered => StoreError::OutcomeUnknown(cause),
        err => err,
    }
}
