//! Sessions of the web interface, and the secrets that instances share.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::links::{PostgresStore, column, corrupt};
use super::outcome;
use super::patience::{within, within_or_longer};
use super::pool::{Parameter, Pool};
use crate::domain::{Actor, KeyId};
use crate::store::limits::{READ_LIMIT, WRITE_LIMIT};
use crate::store::{OpenSession, SecretName, SessionHash, SessionStore, SharedSecret, StoreError};

const SHARED_SECRET: &str = "-- shared_secret()
SELECT secret FROM shared_secrets WHERE name = $1";

const CREATE_SHARED_SECRET: &str = "-- create_shared_secret()
INSERT INTO shared_secrets (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

const ROTATE_SESSIONS: &str = "-- rotate_sessions()
WITH rotated AS (
    INSERT INTO shared_secrets (name, secret) VALUES ('sessions', $1)
    ON CONFLICT (name) DO UPDATE SET secret = excluded.secret
), closed AS (
    DELETE FROM sessions
)
INSERT INTO changes (changed_at, kind, actor) VALUES (clock_timestamp(), 'sessions.rotated', $2)";

const OPEN_SESSION: &str = "-- open_session()
WITH opened AS (
    INSERT INTO sessions (hash, key_id, expires_at) VALUES ($1, $2, $3)
)
INSERT INTO changes (changed_at, kind, actor, key_id) VALUES (clock_timestamp(), 'session.opened', $4, $2)";

const HAS_SESSION: &str = "-- has_session()
SELECT key_id FROM sessions WHERE hash = $1 AND expires_at > $2";

const CLOSE_SESSION: &str = "-- close_session()
WITH closed AS (
    DELETE FROM sessions WHERE hash = $1 RETURNING hash, key_id
), recorded AS (
    INSERT INTO changes (changed_at, kind, actor, key_id)
    SELECT clock_timestamp(), 'session.closed', $2, key_id FROM closed
)
SELECT hash FROM closed";

const RECORD_REFUSED_SESSION: &str = "-- record_refused_session()
INSERT INTO changes (changed_at, kind, actor) VALUES (clock_timestamp(), 'session.refused', 'anonymous')";

#[async_trait]
impl SessionStore for PostgresStore {
    async fn shared_secret(
        &self,
        name: SecretName,
        candidate: &SharedSecret,
    ) -> Result<SharedSecret, StoreError> {
        let parameters: [Parameter<'_>; 2] = [
            (/* name */ &name.as_str(), Type::TEXT),
            (/* secret */ &candidate.as_slice(), Type::BYTEA),
        ];
        if let Some(secret) = stored_secret(self, &parameters[..1]).await? {
            return Ok(secret);
        }
        write(&self.writes, CREATE_SHARED_SECRET, &parameters).await?;
        // Another instance may have been faster.
        let stored = stored_secret(self, &parameters[..1]).await?;
        stored.ok_or_else(|| corrupt("secret")("no row"))
    }

    async fn rotate_sessions(&self, secret: &SharedSecret, actor: &Actor) -> Result<(), StoreError> {
        let actor = actor.to_string();
        let parameters: [Parameter<'_>; 2] = [
            (/* secret */ &secret.as_slice(), Type::BYTEA),
            (/* actor */ &actor, Type::TEXT),
        ];
        let rotating = write(&self.writes, ROTATE_SESSIONS, &parameters);
        outcome::of_change(rotating).await.map(drop)
    }

    async fn open_session(&self, session: &OpenSession, actor: &Actor) -> Result<(), StoreError> {
        let actor = actor.to_string();
        let parameters: [Parameter<'_>; 4] = [
            (/* hash */ &session.hash.as_slice(), Type::BYTEA),
            (
                /* key_id */ &session.key_id.as_ref().map(KeyId::as_str),
                Type::TEXT,
            ),
            (/* expires_at */ &session.expires_at, Type::TIMESTAMPTZ),
            (/* actor */ &actor, Type::TEXT),
        ];
        let opening = write(&self.writes, OPEN_SESSION, &parameters);
        outcome::of_change(opening).await.map(drop)
    }

    async fn has_session(&self, hash: &SessionHash, now: Timestamp) -> Result<bool, StoreError> {
        let parameters: [Parameter<'_>; 2] = [
            (/* hash */ &hash.as_slice(), Type::BYTEA),
            (/* now */ &now, Type::TIMESTAMPTZ),
        ];
        Ok(read(self, HAS_SESSION, &parameters).await?.is_some())
    }

    async fn close_session(&self, hash: &SessionHash, actor: &Actor) -> Result<bool, StoreError> {
        let actor = actor.to_string();
        let parameters: [Parameter<'_>; 2] = [
            (/* hash */ &hash.as_slice(), Type::BYTEA),
            (/* actor */ &actor, Type::TEXT),
        ];
        let closed = outcome::of_change(write(&self.writes, CLOSE_SESSION, &parameters)).await?;
        Ok(!closed.is_empty())
    }

    async fn record_refused_session(&self) -> Result<(), StoreError> {
        write(&self.writes, RECORD_REFUSED_SESSION, &[]).await.map(drop)
    }
}

async fn stored_secret(
    store: &PostgresStore,
    name: &[Parameter<'_>],
) -> Result<Option<SharedSecret>, StoreError> {
    let row = read(store, SHARED_SECRET, name).await?;
    let secret = row.map(|row| {
        column::<&[u8]>(&row, "secret")?
            .try_into()
            .map_err(corrupt("secret"))
    });
    secret.transpose()
}

async fn read(
    store: &PostgresStore,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Option<Row>, StoreError> {
    let rows = within(READ_LIMIT, store.reads().query(sql, parameters))
        .await
        .map_err(|failure| failure.error)?;
    Ok(rows.into_iter().next())
}

async fn write(writes: &Pool, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
    within_or_longer(writes, WRITE_LIMIT, writes.query(sql, parameters))
        .await
        .map_err(|failure| failure.error)
}
