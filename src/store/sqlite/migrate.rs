//! Brings the schema to the version of this build, however many processes try at once.

use rusqlite::{Connection, Error, TransactionBehavior, params};

use super::failure::unavailable;
use crate::store::StoreError;
use crate::store::migration::{self, Found, Migrated};

const CREATE_RECORD: &str = "-- create_record()
CREATE TABLE IF NOT EXISTS curtail_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    oldest_build INTEGER
) STRICT";

const HAS_RECORD: &str = "-- has_record()
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'curtail_migrations'";

const FOUND: &str = "-- found()
SELECT coalesce(max(version), 0), coalesce(max(coalesce(oldest_build, version)), 0) FROM curtail_migrations";

const RECORD: &str = "-- record()
INSERT INTO curtail_migrations (version, name, oldest_build) VALUES (?1, ?2, ?3)";

/// Runs the migrations that the file does not have.
pub(super) fn migrate(connection: &mut Connection) -> Result<Migrated, StoreError> {
    let mut first = None;
    loop {
        let (before, after) = step(connection)?;
        let from = *first.get_or_insert(before);
        if before == after {
            return Ok(Migrated { from, to: after });
        }
    }
}

/// The schema that the file has.
pub(super) fn found(connection: &Connection) -> Result<Found, Error> {
    let tables: i64 = connection
        .prepare_cached(HAS_RECORD)?
        .query_one([], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Found::NOTHING);
    }
    connection.prepare_cached(FOUND)?.query_one([], |row| {
        Ok(Found {
            version: row.get(0)?,
            oldest_build: row.get(1)?,
        })
    })
}

/// Runs the next migration and records it, both or neither. Answers the versions before and after, equal if
/// there was nothing left to do. IMMEDIATE: only one process at a time gets past the first line.
fn step(connection: &mut Connection) -> Result<(i64, i64), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let found = found(&transaction).map_err(unavailable)?;
    let before = found.version;
    let Some(next) = found.next(migration::SQLITE)? else {
        return Ok((before, before));
    };
    transaction.execute_batch(CREATE_RECORD).map_err(unavailable)?;
    transaction.execute_batch(next.sql).map_err(unavailable)?;
    transaction
        .execute(
            RECORD,
            params![
                /* version */ next.version,
                /* name */ next.name,
                /* oldest_build */ next.oldest_build
            ],
        )
        .map_err(unavailable)?;
    transaction.commit().map_err(unavailable)?;
    tracing::info!(
        migration.name = next.name,
        "the database's schema is now at {}",
        next.name
    );
    Ok((before, next.version))
}
