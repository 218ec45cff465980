//! What an error of the driver means for the connection, the statement and the caller.

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// A statement that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What can be done about it.
    pub(super) remedy: Remedy,
    /// The server's code, if it was the server that refused.
    pub(super) code: Option<SqlState>,
    /// What the caller is told.
    pub(super) error: StoreError,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The connection is of no use any more. Another one may do.
    AnotherConnection,
    /// The statement has to be prepared anew: a migration changed a table under it.
    PrepareAgain,
    /// Nothing but to wait: every connection is in use.
    Wait,
    /// Nothing.
    Nothing,
}

/// A server's refusal without its detail, which may repeat what was written.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Refusal {
    code: String,
    message: String,
}

impl Failure {
    /// A statement's failure.
    pub(super) fn of_statement(err: Error) -> Self {
        let code = err.code().cloned();
        let remedy = match &code {
            Some(code) if ends_connection(code) => Remedy::AnotherConnection,
            Some(code) if *code == SqlState::FEATURE_NOT_SUPPORTED && is_stale_plan(&err) => {
                Remedy::PrepareAgain
            }
            Some(_) => Remedy::Nothing,
            // The connection failed, or the driver lost track of the protocol.
            None => Remedy::AnotherConnection,
        };
        Self {
            remedy,
            code,
            error: unavailable(err),
        }
    }

    /// The statement was done, and what it answered is of no use.
    pub(super) fn of_outcome(error: StoreError) -> Self {
        Self {
            remedy: Remedy::Nothing,
            code: None,
            error,
        }
    }

    /// No connection was to be had.
    pub(super) fn of_pool(err: PoolError) -> Self {
        let remedy = match err {
            PoolError::Timeout(TimeoutType::Wait) => Remedy::Wait,
            _ => Remedy::Nothing,
        };
        let error = match err {
            PoolError::Backend(err) => unavailable(err),
            PoolError::Timeout(TimeoutType::Wait) => StoreError::unavailable("every connection is in use"),
            PoolError::Timeout(TimeoutType::Create) => StoreError::unavailable("connecting took too long"),
            PoolError::Closed => StoreError::unavailable("the store is closed"),
            err => StoreError::unavailable(err),
        };
        Self {
            remedy,
            code: None,
            error,
        }
    }

    /// Too many wait for a connection.
    pub(super) fn of_queue() -> Self {
        Self {
            remedy: Remedy::Wait,
            code: None,
            error: StoreError::Overloaded,
        }
    }
}

/// The driver's error without what it may repeat of the values.
pub(super) fn unavailable(err: Error) -> StoreError {
    match err.as_db_error() {
        Some(refusal) => StoreError::unavailable(Refusal {
            code: refusal.code().code().to_owned(),
            message: refusal.message().to_owned(),
        }),
        None => StoreError::unavailable(err),
    }
}

/// Whether the server is leaving, or has become a standby: no statement will do on this connection.
fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::ADMIN_SHUTDOWN
        || *code == SqlState::CRASH_SHUTDOWN
        || *code == SqlState::CANNOT_CONNECT_NOW
}

/// The code alone means many things.
fn is_stale_plan(err: &Error) -> bool {
    err.as_db_error().is_some_and(|refusal| {
        refusal
            .message()
            .contains("cached plan must not change result type")
    })
}
