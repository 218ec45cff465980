//! What operators watch over days: when maintenance last succeeded, and when the next API key expires.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::failure::unavailable;
use super::rows::to_time;
use crate::store::{StoreError, Upkeep};

const RECORD_MAINTENANCE: &str = "-- record_maintenance()
INSERT INTO maintenance (id, succeeded_at) VALUES (1, ?1)
ON CONFLICT (id) DO UPDATE SET succeeded_at = max(succeeded_at, excluded.succeeded_at)";

const UPKEEP: &str = "-- upkeep()
SELECT (SELECT succeeded_at FROM maintenance WHERE id = 1) AS maintained_at,
    (SELECT min(expires_at) FROM api_keys WHERE expires_at > ?1) AS next_key_expiry";

pub(super) fn record_maintenance(connection: &Connection, at: Timestamp) -> Result<(), StoreError> {
    let parameters = params![/* succeeded_at */ at.as_microsecond()];
    let mut statement = connection
        .prepare_cached(RECORD_MAINTENANCE)
        .map_err(unavailable)?;
    statement.execute(parameters).map(drop).map_err(unavailable)
}

pub(super) fn read(connection: &Connection, now: Timestamp) -> Result<Upkeep, StoreError> {
    let mut statement = connection.prepare_cached(UPKEEP).map_err(unavailable)?;
    let mut rows = statement
        .query(params![/* now */ now.as_microsecond()])
        .map_err(unavailable)?;
    let Some(row) = rows.next().map_err(unavailable)? else {
        return Ok(Upkeep::default());
    };
    Ok(Upkeep {
        maintained_at: to_time(row, "maintained_at")?,
        next_key_expiry: to_time(row, "next_key_expiry")?,
    })
}
