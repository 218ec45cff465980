//! Sessions of the web interface. The browser keeps a sealed cookie. The store keeps the secret that seals it, the same
//! for all instances, and which sessions are open: closing one closes it on every instance.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ring::hmac;

use super::mutations::run_to_end;
use super::seal::{Content, ID_LEN, Seal};
use super::{Caller, Error, Keys, audit, random};
use crate::domain::{Actor, ChangeKind, Clock, Rate};
use crate::lifecycle::Lifecycle;
use crate::store::{KeyHash, OpenSession, SecretName, SessionHash, Store, StoreError};

/// The lifetime of a session.
const LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// How long the sealing secret, and the state of a session, are trusted. A session that was closed is refused everywhere
/// within 5 seconds.
const TRUSTED: SignedDuration = SignedDuration::from_secs(4);

/// The most sessions whose state is remembered.
const REMEMBERED_SESSIONS: usize = 10_000;

/// Refused sign-ins that an instance records in a minute. All of them are logged.
const RECORDED_REFUSALS_PER_MINUTE: u32 = 60;

/// An open session.
#[derive(Clone)]
pub struct Session {
    /// SHA-256 of the key that opened it.
    pub(super) key: KeyHash,
    hash: SessionHash,
    token: String,
    tokens: hmac::Key,
    cookie: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// The text that the forms of this session carry.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether `token` is the one of this session.
    #[must_use]
    pub fn is_token(&self, token: &str) -> bool {
        Seal::is_token(&self.tokens, &self.cookie, token)
    }
}

/// What the store said of a session, and when.
#[derive(Clone, Copy)]
struct Remembered {
    is_open: bool,
    at: Timestamp,
}

/// Opens, checks and closes sessions.
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
    /// The seal, and when the store named its secret. The lock is held while the store is asked: one request asks.
    seal: tokio::sync::Mutex<Option<(Arc<Seal>, Timestamp)>>,
    remembered: Arc<Cache<SessionHash, Remembered>>,
    /// When the budget of recorded refusals is whole again, in microseconds since 1970.
    refusals: Mutex<i64>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The sessions in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, lifecycle: Lifecycle) -> Self {
        Self {
            store,
            clock,
            lifecycle,
            seal: tokio::sync::Mutex::new(None),
            remembered: Arc::new(Cache::new(REMEMBERED_SESSIONS)),
            refusals: Mutex::new(i64::MIN),
        }
    }

    /// Opens a session for the holder of `key` and answers its cookie. [`Error::Unauthenticated`] if the key is not valid.
    /// `admit` is that of [`Keys::identify`].
    pub async fn sign_in(
        &self,
        keys: &Keys,
        key: &str,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<String, Error> {
        let (caller, hash) = match keys.sign_in(key, admit).await {
            Ok(found) => found,
            Err(Error::Unauthenticated) => {
                self.record_refusal().await;
                return Err(Error::Unauthenticated);
            }
            Err(err) => return Err(err),
        };
        let now = self.clock.now();
        let content = Content {
            expires_at: now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX),
            key: hash,
            id: random::bytes::<ID_LEN>(),
        };
        let cookie = self.seal(now).await?.seal(&content);
        let session = OpenSession {
            hash: content.hash(),
            key_id: caller.owner().cloned(),
            expires_at: content.expires_at,
        };
        let (store, actor) = (Arc::clone(&self.store), caller.actor());
        let opening = async move {
            let (kind, id) = (ChangeKind::SessionOpened, session.key_id.clone());
            match store.open_session(&session, &actor).await {
                Ok(()) => audit::session(&actor, kind, id.as_ref()),
                Err(err) => return Err(failed(&actor, kind, err)),
            }
            Ok(())
        };
        run_to_end(&self.lifecycle, |_stop| opening).await?;
        Ok(cookie)
    }

    /// The open session that `cookie` belongs to; `None` if it is not a cookie of this service, or the session has
    /// ended.
    pub async fn find(&self, cookie: &str) -> Result<Option<Session>, Error> {
        let Some(sealed) = Seal::read(cookie) else {
            return Ok(None);
        };
        let now = self.clock.now();
        let seal = self.seal(now).await?;
        let Some(content) = seal.open(sealed).filter(|content| now < content.expires_at) else {
            return Ok(None);
        };
        let hash = content.hash();
        if !self.is_open(hash, now).await? {
            return Ok(None);
        }
        Ok(Some(Session {
            key: content.key,
            hash,
            token: seal.token(cookie),
            tokens: seal.tokens(),
            cookie: cookie.to_owned(),
        }))
    }

    /// Closes a session on every instance.
    pub async fn sign_out(&self, by: &Caller, session: &Session) -> Result<(), Error> {
        let (store, remembered) = (Arc::clone(&self.store), Arc::clone(&self.remembered));
        let (actor, key_id, hash) = (by.actor(), by.owner().cloned(), session.hash);
        let closing = async move {
            let kind = ChangeKind::SessionClosed;
            let closed = store.close_session(&hash, &actor).await;
            // This instance need not wait.
            remembered.remove(&hash);
            match closed {
                Ok(true) => audit::session(&actor, kind, key_id.as_ref()),
                // Another request closed it.
                Ok(false) => {}
                Err(err) => return Err(failed(&actor, kind, err)),
            }
            Ok(())
        };
        run_to_end(&self.lifecycle, |_stop| closing).await
    }

    /// Replaces the sealing secret: every session ends, on every instance within 5 seconds.
    pub async fn rotate(&self, by: &Caller) -> Result<(), Error> {
        let (store, actor) = (Arc::clone(&self.store), by.actor());
        let rotating = async move {
            let kind = ChangeKind::SessionsRotated;
            match store.rotate_sessions(&random::bytes(), &actor).await {
                Ok(()) => audit::session(&actor, kind, None),
                Err(err) => return Err(failed(&actor, kind, err)),
            }
            Ok(())
        };
        run_to_end(&self.lifecycle, |_stop| rotating).await
    }

    async fn seal(&self, now: Timestamp) -> Result<Arc<Seal>, Error> {
        let mut held = self.seal.lock().await;
        if let Some((seal, at)) = &*held
            && is_trusted(*at, now)
        {
            return Ok(Arc::clone(seal));
        }
        let candidate = random::bytes();
        let secret = self.store.shared_secret(SecretName::Sessions, &candidate).await?;
        let seal = Arc::new(Seal::new(&secret));
        *held = Some((Arc::clone(&seal), now));
        Ok(seal)
    }

    async fn is_open(&self, hash: SessionHash, now: Timestamp) -> Result<bool, Error> {
        if let Some(held) = self.remembered.get(&hash)
            && is_trusted(held.at, now)
        {
            return Ok(held.is_open);
        }
        let is_open = self.store.has_session(&hash, now).await?;
        self.remembered.insert(hash, Remembered { is_open, at: now });
        Ok(is_open)
    }

    /// Logs a refused sign-in and records it, as long as there are not too many: strangers must not fill the table.
    async fn record_refusal(&self) {
        let kind = ChangeKind::SessionRefused;
        audit::session(&Actor::Anonymous, kind, None);
        if !self.may_record_refusal() {
            return;
        }
        let store = Arc::clone(&self.store);
        let recording = async move {
            if let Err(err) = store.record_refused_session().await {
                tracing::warn!(error = %err, "{kind} was not recorded: {err}");
            }
        };
        run_to_end(&self.lifecycle, |_stop| recording).await;
    }

    fn may_record_refusal(&self) -> bool {
        let Some(rate) = Rate::per_minute(RECORDED_REFUSALS_PER_MINUTE) else {
            return true;
        };
        let mut full = self.refusals.lock();
        let (after, taken) = rate.take(*full, self.clock.now().as_microsecond());
        *full = after;
        taken.granted
    }
}

fn is_trusted(at: Timestamp, now: Timestamp) -> bool {
    now >= at && now.duration_since(at) < TRUSTED
}

/// Passes on the error of a change. If the change may have been committed, it is logged so.
fn failed(actor: &Actor, kind: ChangeKind, err: StoreError) -> Error {
    if let StoreError::OutcomeUnknown(_) = &err {
        audit::unknown(actor, kind, &"a session", &err);
    }
    err.into()
}
