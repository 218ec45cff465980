//! Sessions of the web interface, and the secrets that instances share.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::changes;
use super::failure::unavailable;
use super::links::{SqliteStore, corrupt};
use crate::domain::{Actor, ChangeKind, KeyId};
use crate::store::limits::{LONG_LIMIT, READ_LIMIT};
use crate::store::{OpenSession, SecretName, SessionHash, SessionStore, SharedSecret, StoreError};

const SHARED_SECRET: &str = "-- shared_secret()
SELECT secret FROM shared_secrets WHERE name = ?1";

const CREATE_SHARED_SECRET: &str = "-- create_shared_secret()
INSERT INTO shared_secrets (name, secret) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";

const REPLACE_SHARED_SECRET: &str = "-- replace_shared_secret()
INSERT INTO shared_secrets (name, secret) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET secret = excluded.secret";

const CLOSE_SESSIONS: &str = "-- close_sessions()
DELETE FROM sessions";

const OPEN_SESSION: &str = "-- open_session()
INSERT INTO sessions (hash, key_id, expires_at) VALUES (?1, ?2, ?3)";

const HAS_SESSION: &str = "-- has_session()
SELECT key_id FROM sessions WHERE hash = ?1 AND expires_at > ?2";

const CLOSE_SESSION: &str = "-- close_session()
DELETE FROM sessions WHERE hash = ?1 RETURNING key_id";

#[async_trait]
impl SessionStore for SqliteStore {
    async fn shared_secret(
        &self,
        name: SecretName,
        candidate: &SharedSecret,
    ) -> Result<SharedSecret, StoreError> {
        let stored = self
            .reads
            .run(READ_LIMIT, move |connection| stored_secret(connection, name))
            .await?;
        if let Some(secret) = stored {
            return Ok(secret);
        }
        let candidate = *candidate;
        let create = move |connection: &mut Connection| {
            let parameters = params![/* name */ name.as_str(), /* secret */ candidate];
            connection
                .prepare_cached(CREATE_SHARED_SECRET)
                .and_then(|mut create| create.execute(parameters))
                .map_err(unavailable)?;
            // Another process may have been faster.
            stored_secret(connection, name)?.ok_or_else(|| corrupt("secret")("no row"))
        };
        self.writes.run(LONG_LIMIT, create).await
    }

    async fn rotate_sessions(&self, secret: &SharedSecret, actor: &Actor) -> Result<(), StoreError> {
        let (secret, actor) = (*secret, actor.clone());
        self.mutate(LONG_LIMIT, move |connection| {
            in_transaction(connection, |connection| {
                let parameters = params![
                    /* name */ SecretName::Sessions.as_str(),
                    /* secret */ secret
                ];
                connection
                    .prepare_cached(REPLACE_SHARED_SECRET)?
                    .execute(parameters)?;
                connection.prepare_cached(CLOSE_SESSIONS)?.execute([])?;
                changes::record_session(connection, ChangeKind::SessionsRotated, None, &actor)
            })
        })
        .await
    }

    async fn open_session(&self, session: &OpenSession, actor: &Actor) -> Result<(), StoreError> {
        let (session, actor) = (session.clone(), actor.clone());
        self.mutate(LONG_LIMIT, move |connection| {
            in_transaction(connection, |connection| {
                let key_id = session.key_id.as_ref().map(KeyId::as_str);
                let parameters = params![
                    /* hash */ session.hash,
                    /* key_id */ key_id,
                    /* expires_at */ session.expires_at.as_microsecond(),
                ];
                connection.prepare_cached(OPEN_SESSION)?.execute(parameters)?;
                changes::record_session(connection, ChangeKind::SessionOpened, key_id, &actor)
            })
        })
        .await
    }

    async fn has_session(&self, hash: &SessionHash, now: Timestamp) -> Result<bool, StoreError> {
        let hash = *hash;
        let find = move |connection: &mut Connection| {
            let parameters = params![/* hash */ hash, /* now */ now.as_microsecond()];
            connection
                .prepare_cached(HAS_SESSION)
                .and_then(|mut find| find.exists(parameters))
                .map_err(unavailable)
        };
        self.reads.run(READ_LIMIT, find).await
    }

    async fn close_session(&self, hash: &SessionHash, actor: &Actor) -> Result<bool, StoreError> {
        let (hash, actor) = (*hash, actor.clone());
        self.mutate(LONG_LIMIT, move |connection| {
            in_transaction(connection, |connection| {
                let closed: Option<Option<String>> = connection
                    .prepare_cached(CLOSE_SESSION)?
                    .query_row(params![/* hash */ hash], |row| row.get(0))
                    .optional()?;
                if let Some(key_id) = &closed {
                    let kind = ChangeKind::SessionClosed;
                    changes::record_session(connection, kind, key_id.as_deref(), &actor)?;
                }
                Ok(closed.is_some())
            })
        })
        .await
    }

    async fn record_refused_session(&self) -> Result<(), StoreError> {
        let record = |connection: &mut Connection| {
            changes::record_session(connection, ChangeKind::SessionRefused, None, &Actor::Anonymous)
                .map_err(unavailable)
        };
        self.writes.run(LONG_LIMIT, record).await
    }
}

fn stored_secret(connection: &Connection, name: SecretName) -> Result<Option<SharedSecret>, StoreError> {
    connection
        .prepare_cached(SHARED_SECRET)
        .and_then(|mut find| {
            find.query_row(params![/* name */ name.as_str()], |row| row.get(0))
                .optional()
        })
        .map_err(unavailable)
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let run = || -> rusqlite::Result<T> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    };
    run().map_err(unavailable)
}
