//! The one place that picks an implementation.

use std::sync::Arc;

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{Migrated, Migration, Store, StoreError, migration};
use crate::config;
use crate::telemetry::metrics::Metrics;

/// What is wrong with the settings of the store, by variable, without their values.
#[must_use]
pub fn faults(config: &config::Store) -> Vec<String> {
    match &config.kind {
        config::StoreKind::Sqlite(path) => super::sqlite::faults(path),
        config::StoreKind::Postgres(postgres) => super::postgres::faults(postgres),
    }
}

/// Opens the store. Postgres is not connected to before the first use; an SQLite file is opened, and made
/// if need be. Call it within the runtime that shall drive the connections.
pub async fn open(config: &config::Store) -> Result<Arc<dyn Store>, StoreError> {
    open_measured(config, &Arc::default()).await
}

/// Opens the store as [`open`] does, and counts what it does in `metrics`.
pub async fn open_measured(
    config: &config::Store,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &config.kind {
        config::StoreKind::Sqlite(path) => {
            Arc::new(SqliteStore::open(path, config.migrate_on_start, metrics).await?)
        }
        config::StoreKind::Postgres(postgres) => Arc::new(PostgresStore::open(postgres, metrics)?),
    })
}

/// Brings the database's schema to the version of this build. Safe to run from many instances at once.
pub async fn migrate(config: &config::Store) -> Result<Migrated, StoreError> {
    match &config.kind {
        config::StoreKind::Sqlite(path) => super::sqlite::migrate(path).await,
        config::StoreKind::Postgres(postgres) => {
            super::postgres::migrate(postgres, migration::POSTGRES).await
        }
    }
}

/// Runs the migrations of this build and then `further` ones, on PostgreSQL: tests try kinds of migrations with it that this
/// build does not carry.
pub async fn migrate_further(
    postgres: &config::Postgres,
    further: &[Migration],
) -> Result<Migrated, StoreError> {
    let migrations = [migration::POSTGRES, further].concat();
    super::postgres::migrate(postgres, &migrations).await
}
