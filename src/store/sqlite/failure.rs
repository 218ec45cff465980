//! What an error of SQLite means for the caller.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// The file did not do what was asked, for a reason that is not the caller's.
pub(super) fn unavailable(err: Error) -> StoreError {
    match err.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt(err.to_string()),
        _ => StoreError::unavailable(err),
    }
}

/// The same, or [`StoreError::Refused`] if the values themselves were refused: a constraint, a type or a length.
pub(super) fn unavailable_or_refused(err: Error) -> StoreError {
    let values = [
        ErrorCode::ConstraintViolation,
        ErrorCode::TypeMismatch,
        ErrorCode::TooBig,
    ];
    match err.sqlite_error_code() {
        Some(code) if values.contains(&code) => StoreError::Refused(err.into()),
        _ => unavailable(err),
    }
}
