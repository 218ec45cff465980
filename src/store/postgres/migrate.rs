//! Brings the schema to the version of this build, however many instances try at once.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Transaction};
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connector;
use super::failure::unavailable;
use super::settings::{Purpose, Settings};
use crate::config;
use crate::store::StoreError;
use crate::store::migration::{self, Found, Migrated};

/// Only one migrator at a time gets past this, in a schema. It lasts as long as the transaction, so that it
/// works behind a pooler too. The number has no meaning but to be ours.
const TAKE_TURN: &str = "-- take_turn()
SELECT pg_advisory_xact_lock(794203917, hashtext(coalesce(current_schema(), '')))";

/// A statement that waits for a lock blocks every statement that comes after it, so it does not wait long: readers
/// behind it must come through before they give up.
const LIMIT_LOCKS: &str = "-- limit_locks()
SET LOCAL lock_timeout = '100ms'";

const WAIT_FOR_TURN: &str = "-- wait_for_turn()
SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";

const HAS_RECORD: &str = "-- has_record()
SELECT to_regclass('curtail_migrations') IS NOT NULL";

const CREATE_RECORD: &str = "-- create_record()
CREATE TABLE curtail_migrations (
    version bigint PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    oldest_build bigint
)";

const FOUND: &str = "-- found()
SELECT coalesce(max(version), 0), coalesce(max(coalesce(oldest_build, version)), 0) FROM curtail_migrations";

const RECORD: &str = "-- record()
INSERT INTO curtail_migrations (version, name, oldest_build) VALUES ($1, $2, $3)";

/// How often a step is tried while a table it needs is locked.
const TRIES: u32 = 40;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why a step was not taken.
enum Obstacle {
    /// A table that it needs is in use.
    Locked(Error),
    /// Anything else.
    Other(StoreError),
}

impl From<Error> for Obstacle {
    fn from(err: Error) -> Self {
        match err.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Self::Locked(err),
            _ => Self::Other(unavailable(err)),
        }
    }
}

/// Runs the migrations that the database does not have, over a connection of its own.
pub(in crate::store) async fn migrate(section: &config::Postgres) -> Result<Migrated, StoreError> {
    let settings = Settings::read(section).map_err(|faults| StoreError::Settings(faults.join("; ")))?;
    let connector = Connector::new(settings.tls.clone());
    let config = settings.config(Purpose::Migration);
    let (mut client, driver) = tokio::time::timeout(CONNECT_LIMIT, connector.open(&config))
        .await
        .map_err(|_| StoreError::unavailable("connecting took too long"))?
        .map_err(unavailable)?;
    let driver = AbortOnDropHandle::new(driver);
    let result = run(&mut client).await;
    drop(client);
    // The driver still has to roll back what failed, and to say goodbye.
    let _ = tokio::time::timeout(CONNECT_LIMIT, driver).await;
    result
}

async fn run(client: &mut Client) -> Result<Migrated, StoreError> {
    let mut first = None;
    loop {
        let (before, after) = step_patiently(client).await?;
        let from = *first.get_or_insert(before);
        if before == after {
            return Ok(Migrated { from, to: after });
        }
    }
}

/// Takes one step, and tries again with growing pauses while a lock is in the way.
async fn step_patiently(client: &mut Client) -> Result<(i64, i64), StoreError> {
    let mut pause = Duration::from_millis(100);
    for _ in 1..TRIES {
        match step(client).await {
            Ok(versions) => return Ok(versions),
            Err(Obstacle::Other(err)) => return Err(err),
            Err(Obstacle::Locked(err)) => {
                tracing::warn!(error = %err, "a migration waits for a lock, and tries again: {err}");
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    step(client).await.map_err(|obstacle| match obstacle {
        Obstacle::Locked(err) => unavailable(err),
        Obstacle::Other(err) => err,
    })
}

/// Runs the next migration and records it, both or neither. Answers the versions before and after, equal if
/// there was nothing left to do.
async fn step(client: &mut Client) -> Result<(i64, i64), Obstacle> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(WAIT_FOR_TURN).await?;
    transaction.batch_execute(TAKE_TURN).await?;
    transaction.batch_execute(LIMIT_LOCKS).await?;
    let found = found(&transaction).await?;
    let before = found.version;
    let Some(next) = found.next(migration::POSTGRES).map_err(Obstacle::Other)? else {
        return Ok((before, before));
    };
    transaction.batch_execute(next.sql).await?;
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] = [
        (/* version */ &next.version, Type::INT8),
        (/* name */ &next.name, Type::TEXT),
        (/* oldest_build */ &next.oldest_build, Type::INT8),
    ];
    transaction.execute_typed(RECORD, &parameters).await?;
    transaction.commit().await?;
    tracing::info!(
        migration.name = next.name,
        "the database's schema is now at {}",
        next.name
    );
    Ok((before, next.version))
}

/// The schema that the database has. The record is made if there is none.
async fn found(transaction: &Transaction<'_>) -> Result<Found, Error> {
    // Asked first, since CREATE TABLE IF NOT EXISTS needs the right to create even if there is nothing to do.
    if !transaction
        .query_typed_one(HAS_RECORD, &[])
        .await?
        .try_get::<_, bool>(0)?
    {
        transaction.batch_execute(CREATE_RECORD).await?;
    }
    let row = transaction.query_typed_one(FOUND, &[]).await?;
    Ok(Found {
        version: row.try_get(0)?,
        oldest_build: row.try_get(1)?,
    })
}
