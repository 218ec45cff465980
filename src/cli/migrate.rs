//! `curtail migrate`

use crate::store;
use crate::telemetry::log::Stream;

/// Migrates the database.
pub(super) fn migrate() -> Result<(), String> {
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    super::settings::start_log(&config, Stream::Output);
    let migrated = super::block_on(store::migrate(&config.store))?.map_err(|err| err.to_string())?;
    let (from, to) = (migrated.from, migrated.to);
    if from == to {
        tracing::info!(schema.version = to, "the schema is at version {to} already");
    } else {
        tracing::info!(schema.version = to, "the schema went from version {from} to {to}");
    }
    Ok(())
}
