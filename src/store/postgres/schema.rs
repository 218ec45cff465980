//! The schema is checked before the first statement of a process, whichever that is.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::failure::Failure;
use super::rows::column;
use crate::store::StoreError;
use crate::store::migration::Found;

pub(super) const SCHEMA: &str = "-- schema()
SELECT coalesce(max(version), 0) AS version, coalesce(max(coalesce(oldest_build, version)), 0) AS oldest_build
FROM curtail_migrations";

/// Whether the database has shown a schema that this build can work with. A process starts without its database, so that
/// is asked on the first connection there is.
#[derive(Debug, Default)]
pub(super) struct Schema(AtomicBool);

impl Schema {
    /// Whether statements may run.
    pub(super) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Judges the answer to [`SCHEMA`]: [`StoreError::Schema`] if it is not one to work with.
    pub(super) fn judge(&self, answer: Result<Vec<Row>, Failure>) -> Result<(), Failure> {
        let found = match answer {
            Ok(rows) => rows.first().map_or(Ok(Found::NOTHING), found),
            Err(failure) if failure.code == Some(SqlState::UNDEFINED_TABLE) => Ok(Found::NOTHING),
            Err(failure) => return Err(failure),
        };
        found.and_then(Found::check).map_err(Failure::of_outcome)?;
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn found(row: &Row) -> Result<Found, StoreError> {
    Ok(Found {
        version: column(row, "version")?,
        oldest_build: column(row, "oldest_build")?,
    })
}
