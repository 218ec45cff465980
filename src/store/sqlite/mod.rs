//! Links in an SQLite file.

mod aside;
mod batch;
mod changes;
mod chores;
mod clicks;
mod connect;
mod failure;
mod keys;
mod links;
mod list;
mod migrate;
mod pool;
mod porting;
mod ranking;
mod rows;
mod selection;
mod sessions;
mod upkeep;
mod values;
mod writes;

use std::path::Path;

use super::{Migrated, StoreError};

pub(super) use links::SqliteStore;

/// What is wrong with the file's path.
pub(super) fn faults(path: &Path) -> Vec<String> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return vec!["DATABASE_URL is not valid: sqlite: needs the path of a file behind it".to_owned()];
    }
    Vec::new()
}

/// Brings the file's schema to the version of this build, and makes the file if need be.
pub(super) async fn migrate(path: &Path) -> Result<Migrated, StoreError> {
    if let Some(fault) = faults(path).pop() {
        return Err(StoreError::Settings(fault));
    }
    let path = path.to_owned();
    pool::blocking(move || migrate::migrate(&mut connect::writer(&path)?)).await
}
