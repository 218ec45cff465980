//! What operators watch over days: when maintenance last succeeded, and when the next API key expires.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::links::column;
use super::patience::{within, within_or_longer};
use super::pool::{Parameter, Pool};
use crate::store::limits::{READ_LIMIT, WRITE_LIMIT};
use crate::store::{StoreError, Upkeep};

const RECORD_MAINTENANCE: &str = "-- record_maintenance()
INSERT INTO maintenance (id, succeeded_at) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET succeeded_at = greatest(maintenance.succeeded_at, EXCLUDED.succeeded_at)";

const UPKEEP: &str = "-- upkeep()
SELECT (SELECT succeeded_at FROM maintenance WHERE id = 1) AS maintained_at,
    (SELECT min(expires_at) FROM api_keys WHERE expires_at > $1) AS next_key_expiry";

pub(super) async fn record_maintenance(writes: &Pool, at: Timestamp) -> Result<(), StoreError> {
    let parameters: [Parameter<'_>; 1] = [(/* succeeded_at */ &at, Type::TIMESTAMPTZ)];
    within_or_longer(writes, WRITE_LIMIT, writes.query(RECORD_MAINTENANCE, &parameters))
        .await
        .map(drop)
        .map_err(|failure| failure.error)
}

pub(super) async fn read(reads: &Pool, now: Timestamp) -> Result<Upkeep, StoreError> {
    let parameters: [Parameter<'_>; 1] = [(/* now */ &now, Type::TIMESTAMPTZ)];
    let row = within(READ_LIMIT, reads.query_opt(UPKEEP, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let Some(row) = row else {
        return Ok(Upkeep::default());
    };
    Ok(Upkeep {
        maintained_at: column(&row, "maintained_at")?,
        next_key_expiry: column(&row, "next_key_expiry")?,
    })
}
