//! Brings the schema to the version of this build, however many instances try at once.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Transaction};
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connector;
use super::failure::unavailable;
use super::grants::{self, Refused};
use super::settings::{Purpose, Settings};
use crate::config;
use crate::store::StoreError;
use crate::store::migration::{Found, IndexBuild, Migrated, Migration, Step};

/// Only one migrator at a time gets past this, in a schema. It lasts as long as the transaction, so that it
/// works behind a pooler too. It does not wait: a statement that waits has a snapshot, and a concurrent build would wait for
/// that. The number has no meaning but to be ours.
const TAKE_TURN: &str = "-- take_turn()
SELECT pg_try_advisory_xact_lock(794203917, hashtext(coalesce(current_schema(), '')))";

/// A statement that waits for a lock blocks every statement that comes after it, so it does not wait long: readers
/// behind it must come through before they give up.
const LIMIT_LOCKS: &str = "-- limit_locks()
SET LOCAL lock_timeout = '100ms'";

/// The transaction is idle while another connection builds indexes.
const WAIT_FOR_TURN: &str = "-- wait_for_turn()
SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// A concurrent build waits for other transactions, and none waits for it. One that does not end is not waited for
/// without end all the same: it may be forgotten.
const LIMIT_BUILD: &str = "-- limit_build()
SET lock_timeout = '2s'; SET statement_timeout = 0";

/// A question with parameters keeps its snapshot until the next statement; this one keeps none.
const RELEASE_SNAPSHOT: &str = "-- release_snapshot()
SET LOCAL lock_timeout = 0";

/// Whether an index can be used: a build that failed leaves one that cannot, and that every write still updates.
const IS_VALID: &str = "-- is_valid()
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";

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
    /// Another process migrates.
    NotOurTurn,
    /// Anything else.
    Other(StoreError),
}

impl From<Refused> for Obstacle {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Server(err) => err.into(),
            Refused::Settings(err) => Self::Other(err),
        }
    }
}

impl From<Error> for Obstacle {
    fn from(err: Error) -> Self {
        match err.code() {
            // A concurrent build and another change of the table may wait for one another.
            Some(code)
                if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED =>
            {
                Self::Locked(err)
            }
            _ => Self::Other(unavailable(err)),
        }
    }
}

/// The database to migrate, and what it needs.
struct Migrator<'a> {
    settings: Settings,
    migrations: &'a [Migration],
}

/// Runs the migrations that the database does not have, over a connection of its own.
pub(in crate::store) async fn migrate(
    section: &config::Postgres,
    migrations: &[Migration],
) -> Result<Migrated, StoreError> {
    let settings = Settings::read(section).map_err(|faults| StoreError::Settings(faults.join("; ")))?;
    let migrator = Migrator { settings, migrations };
    let (mut client, driver) = migrator.connect().await?;
    let result = run(&migrator, &mut client).await;
    drop(client);
    // The driver still has to roll back what failed, and to say goodbye.
    let _ = tokio::time::timeout(CONNECT_LIMIT, driver).await;
    result
}

impl Migrator<'_> {
    async fn connect(&self) -> Result<(Client, AbortOnDropHandle<()>), StoreError> {
        let connector = Connector::new(self.settings.tls.clone());
        let config = self.settings.config(Purpose::Migration);
        let (client, driver) = tokio::time::timeout(CONNECT_LIMIT, connector.open(&config))
            .await
            .map_err(|_| StoreError::unavailable("connecting took too long"))?
            .map_err(unavailable)?;
        Ok((client, AbortOnDropHandle::new(driver)))
    }
}

async fn run(migrator: &Migrator<'_>, client: &mut Client) -> Result<Migrated, StoreError> {
    let mut first = None;
    loop {
        let (before, after) = step_patiently(migrator, client).await?;
        let from = *first.get_or_insert(before);
        if before == after {
            return Ok(Migrated { from, to: after });
        }
    }
}

/// Takes one step, and tries again with growing pauses while a lock or another migrator is in the way.
async fn step_patiently(migrator: &Migrator<'_>, client: &mut Client) -> Result<(i64, i64), StoreError> {
    let mut pause = Duration::from_millis(100);
    let mut tries = 0;
    loop {
        match step(migrator, client).await {
            Ok(versions) => return Ok(versions),
            Err(Obstacle::Other(err)) => return Err(err),
            // However long the other one takes.
            Err(Obstacle::NotOurTurn) => {}
            Err(Obstacle::Locked(err)) => {
                tries += 1;
                if tries == TRIES {
                    return Err(unavailable(err));
                }
                tracing::warn!(error = %err, "a migration waits for a lock, and tries again: {err}");
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Runs the next migration and records it, both or neither. Answers the versions before and after, equal if
/// there was nothing left to do: then the service's role got what it lacks.
async fn step(migrator: &Migrator<'_>, client: &mut Client) -> Result<(i64, i64), Obstacle> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(WAIT_FOR_TURN).await?;
    let turn = transaction.query_typed_one(TAKE_TURN, &[]).await?;
    if !turn.try_get::<_, bool>(0)? {
        return Err(Obstacle::NotOurTurn);
    }
    transaction.batch_execute(LIMIT_LOCKS).await?;
    let found = found(&transaction).await?;
    let before = found.version;
    let Some(next) = found.next(migrator.migrations).map_err(Obstacle::Other)? else {
        if let Some(role) = &migrator.settings.service_role {
            grants::grant(&transaction, role).await?;
            transaction.commit().await?;
        }
        return Ok((before, before));
    };
    match next.step().map_err(Obstacle::Other)? {
        Step::Transaction(sql) => transaction.batch_execute(sql).await?,
        Step::Concurrently(builds) => {
            // The transaction keeps the turn meanwhile. A build would wait for its snapshot without end.
            transaction.batch_execute(RELEASE_SNAPSHOT).await?;
            build_indexes(migrator, &builds).await?;
        }
    }
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

/// Builds indexes one after the other, over a connection of its own. What a failed try left is dropped first; what is
/// there already stays. So each try goes on where the one before ended.
async fn build_indexes(migrator: &Migrator<'_>, builds: &[IndexBuild<'_>]) -> Result<(), Obstacle> {
    let (client, _driver) = migrator.connect().await.map_err(Obstacle::Other)?;
    if !migrator.settings.pooler {
        client.batch_execute(LIMIT_BUILD).await?;
    }
    for IndexBuild { name, sql } in builds {
        match is_valid(&client, name).await? {
            Some(true) => continue,
            Some(false) => {
                let drop = format!("-- drop_invalid_index()\nDROP INDEX CONCURRENTLY IF EXISTS {name}");
                client.batch_execute(&drop).await?;
            }
            None => {}
        }
        tracing::info!(
            index.name = name,
            "builds the index {name}, while its table is in use"
        );
        client.batch_execute(sql).await?;
    }
    Ok(())
}

/// Whether an index can be used; `None` if there is none of this name.
async fn is_valid(client: &Client, name: &str) -> Result<Option<bool>, Error> {
    let name: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(/* name */ &name, Type::TEXT)];
    let row = client.query_typed_opt(IS_VALID, &name).await?;
    row.map(|row| row.try_get(0)).transpose()
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
