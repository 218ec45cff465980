//! What an error of the driver means for the connection, the statement and the caller.

use std::error::Error as _;
use std::fmt::Write as _;

use deadpool_postgres::PoolError;
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
    /// Nothing.
    Nothing,
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

    /// Whether the server refused the data itself (SQLSTATE classes 22 and 23): the same statement fails again, and
    /// the same statement without the faulty row succeeds.
    pub(super) fn is_of_data(&self) -> bool {
        let class = self.code.as_ref().map(|code| &code.code()[..2]);
        matches!(class, Some("22" | "23"))
    }

    /// The statement was done, and what it answered is of no use.
    pub(super) fn of_outcome(error: StoreError) -> Self {
        Self {
            remedy: Remedy::Nothing,
            code: None,
            error,
        }
    }

    /// The same failure as [`StoreError::Refused`] if the server refused the values themselves: SQLSTATE classes 22 (data
    /// exception) and 23 (integrity constraint violation).
    pub(super) fn or_refused(mut self) -> Self {
        let is_final = |code: &SqlState| code.code().starts_with("22") || code.code().starts_with("23");
        self.error = match self.error {
            StoreError::Unavailable(cause) if self.code.as_ref().is_some_and(is_final) => {
                StoreError::Refused(cause)
            }
            error => error,
        };
        self
    }

    /// The pool gave no connection.
    pub(super) fn of_pool(err: PoolError) -> Self {
        match err {
            PoolError::Closed => Self::of_connecting("the store is closed"),
            err => Self::of_outcome(StoreError::unavailable(err)),
        }
    }

    /// There was no connection, so the statement was not begun.
    pub(super) fn of_connecting(reason: &str) -> Self {
        Self::of_outcome(StoreError::unavailable(reason))
    }

    /// Too many wait for a connection.
    pub(super) fn of_queue() -> Self {
        Self::of_outcome(StoreError::Overloaded)
    }
}

/// The driver's error as [`causes`] words it.
pub(super) fn unavailable(err: Error) -> StoreError {
    StoreError::unavailable(causes(&err))
}

/// An error of the driver with its SQLSTATE or its causes, without the server's detail, which may repeat values.
pub(super) fn causes(err: &Error) -> String {
    if let Some(refusal) = err.as_db_error() {
        return format!("{}: {}", refusal.code().code(), refusal.message());
    }
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let _ = write!(text, ": {err}");
        cause = err.source();
    }
    text
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
