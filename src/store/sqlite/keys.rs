//! Keys.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Row, TransactionBehavior, params};

use super::changes;
use super::failure::unavailable;
use super::links::{column, corrupt, to_time};
use crate::domain::{Actor, ChangeKind, Key, KeyCursor, KeyId, KeyPage, Scope};
use crate::store::{KeyHash, StoreError};

const INSERT_KEY: &str = "-- insert_key()
INSERT INTO api_keys (id, hash, name, scopes, own_links_only, expires_at, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO NOTHING";

const KEY: &str = "-- key()
SELECT id, name, scopes, own_links_only, expires_at, created_at, last_used_at FROM api_keys WHERE hash = ?1";

const KEYS: &str = "-- keys()
SELECT id, name, scopes, own_links_only, expires_at, created_at, last_used_at FROM api_keys
WHERE (created_at, id) < (?1, ?2) ORDER BY created_at DESC, id DESC LIMIT ?3";

const DELETE_KEY: &str = "-- delete_key()
DELETE FROM api_keys WHERE id = ?1";

const CLOSE_SESSIONS_OF_KEY: &str = "-- close_sessions_of_key()
DELETE FROM sessions WHERE key_id = ?1";

const TOUCH_KEY: &str = "-- touch_key()
UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";

pub(super) fn insert_key(
    connection: &mut Connection,
    key: &Key,
    hash: &KeyHash,
    actor: &Actor,
) -> Result<(), StoreError> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let parameters = params![
        /* id */ key.id.as_str(),
        /* hash */ hash.as_slice(),
        /* name */ key.name,
        /* scopes */ serde_json::to_string(&scopes).map_err(corrupt("scopes"))?,
        /* own_links_only */ key.own_links_only,
        /* expires_at */ key.expires_at.map(Timestamp::as_microsecond),
        /* created_at */ key.created_at.as_microsecond(),
    ];
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    if write(&transaction, INSERT_KEY, parameters)? == 0 {
        return Err(StoreError::Conflict);
    }
    changes::record_key(&transaction, ChangeKind::KeyCreated, &key.id, actor).map_err(unavailable)?;
    transaction.commit().map_err(unavailable)
}

pub(super) fn key(connection: &Connection, hash: &KeyHash) -> Result<Option<Key>, StoreError> {
    let keys = read(connection, KEY, params![/* hash */ hash.as_slice()])?;
    Ok(keys.into_iter().next())
}

pub(super) fn keys(connection: &Connection, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError> {
    let parameters = params![
        /* created_at */ after.created_at().as_microsecond(),
        /* id */ after.id(),
        /* limit */ i64::from(limit) + 1,
    ];
    Ok(KeyPage::of(read(connection, KEYS, parameters)?, limit))
}

pub(super) fn delete_key(connection: &mut Connection, id: &KeyId, actor: &Actor) -> Result<bool, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    if write(&transaction, DELETE_KEY, params![/* id */ id.as_str()])? == 0 {
        return Ok(false);
    }
    write(
        &transaction,
        CLOSE_SESSIONS_OF_KEY,
        params![/* key_id */ id.as_str()],
    )?;
    changes::record_key(&transaction, ChangeKind::KeyRevoked, id, actor).map_err(unavailable)?;
    transaction.commit().map_err(unavailable)?;
    Ok(true)
}

pub(super) fn touch_key(connection: &Connection, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
    let parameters = params![
        /* id */ id.as_str(),
        /* last_used_at */ at.as_microsecond()
    ];
    write(connection, TOUCH_KEY, parameters).map(drop)
}

fn write(connection: &Connection, sql: &str, parameters: impl Params) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    statement.execute(parameters).map_err(unavailable)
}

fn read(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Vec<Key>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut rows = statement.query(parameters).map_err(unavailable)?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        keys.push(to_key(row)?);
    }
    Ok(keys)
}

fn to_key(row: &Row<'_>) -> Result<Key, StoreError> {
    let scopes: Vec<String> =
        serde_json::from_str(&column::<String>(row, "scopes")?).map_err(corrupt("scopes"))?;
    Ok(Key {
        id: column::<String>(row, "id")?.parse().map_err(corrupt("id"))?,
        name: column(row, "name")?,
        // A scope of a newer build is none of this one's.
        scopes: scopes
            .iter()
            .filter_map(|text| text.parse::<Scope>().ok())
            .collect(),
        own_links_only: column(row, "own_links_only")?,
        expires_at: to_time(row, "expires_at")?,
        created_at: to_time(row, "created_at")?.ok_or_else(|| corrupt("created_at")("no time"))?,
        last_used_at: to_time(row, "last_used_at")?,
    })
}
