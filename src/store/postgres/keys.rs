//! Keys.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::links::{PostgresStore, column, corrupt};
use super::patience::{within, within_or_longer};
use super::pool::{Parameter, Pool};
use crate::domain::{Actor, Key, KeyCursor, KeyId, KeyPage, Scope};
use crate::store::limits::{READ_LIMIT, WRITE_LIMIT};
use crate::store::{KeyHash, StoreError};

const INSERT_KEY: &str = "-- insert_key()
WITH changed AS (
    INSERT INTO api_keys (id, hash, name, scopes, own_links_only, expires_at, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), recorded AS (
    INSERT INTO changes (changed_at, kind, actor, key_id)
    SELECT clock_timestamp(), 'key.created', $8, id FROM changed
)
SELECT id FROM changed";

const KEY: &str = "-- key()
SELECT id, name, scopes, own_links_only, expires_at, created_at, last_used_at FROM api_keys WHERE hash = $1";

const KEYS: &str = "-- keys()
SELECT id, name, scopes, own_links_only, expires_at, created_at, last_used_at FROM api_keys
WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3";

const DELETE_KEY: &str = "-- delete_key()
WITH changed AS (
    DELETE FROM api_keys WHERE id = $1 RETURNING id
), closed AS (
    DELETE FROM sessions WHERE key_id = $1
), recorded AS (
    INSERT INTO changes (changed_at, kind, actor, key_id)
    SELECT clock_timestamp(), 'key.revoked', $2, id FROM changed
)
SELECT id FROM changed";

const TOUCH_KEY: &str = "-- touch_key()
UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

impl PostgresStore {
    async fn read_keys(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Key>, StoreError> {
        let rows = within(READ_LIMIT, self.reads().query(sql, parameters))
            .await
            .map_err(|failure| failure.error)?;
        rows.iter().map(to_key).collect()
    }
}

pub(super) async fn insert_key(
    writes: &Pool,
    key: &Key,
    hash: &KeyHash,
    actor: &Actor,
) -> Result<(), StoreError> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let parameters: [Parameter<'_>; 8] = [
        (/* id */ &key.id.as_str(), Type::TEXT),
        (/* hash */ &hash.as_slice(), Type::BYTEA),
        (/* name */ &key.name, Type::TEXT),
        (/* scopes */ &scopes, Type::TEXT_ARRAY),
        (/* own_links_only */ &key.own_links_only, Type::BOOL),
        (/* expires_at */ &key.expires_at, Type::TIMESTAMPTZ),
        (/* created_at */ &key.created_at, Type::TIMESTAMPTZ),
        (/* actor */ &actor.to_string(), Type::TEXT),
    ];
    match write(writes, INSERT_KEY, &parameters).await?.is_empty() {
        true => Err(StoreError::Conflict),
        false => Ok(()),
    }
}

pub(super) async fn key(store: &PostgresStore, hash: &KeyHash) -> Result<Option<Key>, StoreError> {
    let keys = store
        .read_keys(KEY, &[(/* hash */ &hash.as_slice(), Type::BYTEA)])
        .await?;
    Ok(keys.into_iter().next())
}

pub(super) async fn keys(store: &PostgresStore, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError> {
    let parameters: [Parameter<'_>; 3] = [
        (/* created_at */ &after.created_at(), Type::TIMESTAMPTZ),
        (/* id */ &after.id(), Type::TEXT),
        (/* limit */ &(i64::from(limit) + 1), Type::INT8),
    ];
    let keys = store.read_keys(KEYS, &parameters).await?;
    Ok(KeyPage::of(keys, limit))
}

pub(super) async fn delete_key(writes: &Pool, id: &KeyId, actor: &Actor) -> Result<bool, StoreError> {
    let parameters: [Parameter<'_>; 2] = [
        (/* id */ &id.as_str(), Type::TEXT),
        (/* actor */ &actor.to_string(), Type::TEXT),
    ];
    let rows = write(writes, DELETE_KEY, &parameters).await?;
    Ok(!rows.is_empty())
}

pub(super) async fn touch_key(writes: &Pool, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
    let parameters: [Parameter<'_>; 2] = [
        (/* id */ &id.as_str(), Type::TEXT),
        (/* last_used_at */ &at, Type::TIMESTAMPTZ),
    ];
    write(writes, TOUCH_KEY, &parameters).await.map(drop)
}

async fn write(writes: &Pool, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
    within_or_longer(writes, WRITE_LIMIT, writes.query(sql, parameters))
        .await
        .map_err(|failure| failure.error)
}

fn to_key(row: &Row) -> Result<Key, StoreError> {
    let scopes: Vec<&str> = column(row, "scopes")?;
    Ok(Key {
        id: column::<&str>(row, "id")?.parse().map_err(corrupt("id"))?,
        name: column(row, "name")?,
        // A scope of a newer build is none of this one's.
        scopes: scopes
            .iter()
            .filter_map(|text| text.parse::<Scope>().ok())
            .collect(),
        own_links_only: column(row, "own_links_only")?,
        expires_at: column(row, "expires_at")?,
        created_at: column(row, "created_at")?,
        last_used_at: column(row, "last_used_at")?,
    })
}
