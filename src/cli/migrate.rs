//! `curtail migrate`

use crate::store;
use crate::telemetry::log::Stream;

/// Migrates the database.
pub(super) fn migrate() -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.start_log(Stream::Output);
    let config = settings.config;
    let migrated = super::block_on(store::migrate(&config.store))?.map_err(|err| err.to_string())?;
    let (from, to) = (migrated.from, migrated.to);
    if from == to {
        tracing::info!(schema.version = to, "the schema is at version {to} already");
    } else {
        tracing::info!(schema.version = to, "the schema went from version {from} to {to}");
    }
    Ok(())
}
