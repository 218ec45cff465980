//! Sessions of the web interface and the secrets that instances share, as both dialects store them.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::{Actor, KeyId};

/// SHA-256 of a session's id.
pub type SessionHash = [u8; 32];

/// 256 random bits.
pub type SharedSecret = [u8; 32];

/// Which secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretName {
    /// Seals the cookies of sessions.
    Sessions,
    /// Keys the names of rate limits.
    RateLimits,
}

impl SecretName {
    /// The name as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::RateLimits => "rate_limits",
        }
    }
}

/// A session, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// SHA-256 of its id.
    pub hash: SessionHash,
    /// The API key that opened it; `None` for the key of the settings.
    pub key_id: Option<KeyId>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Keeps sessions. What [`Store`](super::Store) says of its operations holds for these.
#[async_trait]
pub trait SessionStore {
    /// The secret called `name`: the stored one, or else `candidate`, which is stored then. All instances get the same.
    async fn shared_secret(
        &self,
        name: SecretName,
        candidate: &SharedSecret,
    ) -> Result<SharedSecret, StoreError>;

    /// Replaces the secret that seals sessions, and closes all of them.
    async fn rotate_sessions(&self, secret: &SharedSecret, actor: &Actor) -> Result<(), StoreError>;

    /// Opens a session.
    async fn open_session(&self, session: &OpenSession, actor: &Actor) -> Result<(), StoreError>;

    /// Whether a session with this hash is open at `now`.
    async fn has_session(&self, hash: &SessionHash, now: Timestamp) -> Result<bool, StoreError>;

    /// Closes a session; `false` if there was none.
    async fn close_session(&self, hash: &SessionHash, actor: &Actor) -> Result<bool, StoreError>;

    /// Records a sign-in with a key that is not valid.
    async fn record_refused_session(&self) -> Result<(), StoreError>;
}
