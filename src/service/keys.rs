//! Who is asking, and what they may do.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::mutations::run_to_end;
use super::{Error, Session, audit};
use crate::config;
use crate::domain::{Actor, ChangeKind, Clock, Key, KeyCursor, KeyDraft, KeyId, KeyPage, Link};
use crate::lifecycle::Lifecycle;
use crate::store::{KeyHash, Store, StoreError};

pub use crate::domain::Scope;

/// How long a key, or that there is none, is remembered: a revoked one is refused everywhere within 5 seconds.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(4);
/// How many are remembered.
const REMEMBERED_KEYS: usize = 10_000;

/// What every key begins with, so that one that has leaked is recognised.
const PREFIX: &str = "ctl_";
/// The characters behind it: 190 bits.
const SECRET_CHARS: usize = 32;
const ID_CHARS: usize = 12;
const BASE62: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K',
    'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f',
    'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
];

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The holder of the key with every scope, or anybody in trial mode.
    Admin,
    /// A person at the command line.
    Operator,
    /// The holder of a key that was issued.
    Key(Arc<Key>),
    /// Somebody without a key.
    Anonymous {
        /// Whether links may be made without a key.
        may_create: bool,
    },
}

impl Caller {
    /// Succeeds if the caller may use `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        match self {
            Self::Admin | Self::Operator => Ok(()),
            Self::Key(key) if key.scopes.contains(&scope) => Ok(()),
            Self::Key(_) => Err(Error::InsufficientScope(scope.as_str())),
            Self::Anonymous { may_create: true } if scope == Scope::LinksCreate => Ok(()),
            Self::Anonymous { .. } => Err(Error::Unauthenticated),
        }
    }

    /// The key that owns what the caller makes.
    #[must_use]
    pub fn owner(&self) -> Option<&KeyId> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Admin | Self::Operator | Self::Anonymous { .. } => None,
        }
    }

    /// What the changes that the caller makes are recorded with.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Admin => Actor::Admin,
            Self::Operator => Actor::Operator,
            Self::Key(key) => Actor::Key(key.id.clone()),
            Self::Anonymous { .. } => Actor::Anonymous,
        }
    }

    /// The one owner whose links the caller sees; `None` sees all.
    #[must_use]
    pub fn held_to(&self) -> Option<&KeyId> {
        match self {
            Self::Key(key) if key.own_links_only => Some(&key.id),
            _ => None,
        }
    }

    /// Whether the caller sees `link`.
    #[must_use]
    pub fn sees(&self, link: &Link) -> bool {
        self.held_to().is_none_or(|id| link.owner.as_ref() == Some(id))
    }
}

/// A key that was just made.
#[derive(Debug)]
pub struct IssuedKey {
    /// What is kept of it.
    pub key: Key,
    /// The key itself, to be shown this once.
    pub secret: SecretString,
}

/// What was found, and when.
#[derive(Clone)]
struct Remembered {
    key: Option<Arc<Key>>,
    at: Timestamp,
}

/// Knows the keys.
pub struct Keys {
    /// SHA-256 of the key with every scope: all keys compare in the same time, whatever their length.
    admin: Option<KeyHash>,
    anonymous_create: bool,
    trial: bool,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    remembered: Arc<Cache<KeyHash, Remembered>>,
    /// Keys whose use is being noted now.
    noting: Arc<Mutex<HashSet<KeyId>>>,
    lifecycle: Lifecycle,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// The keys of the settings and of the store.
    #[must_use]
    pub fn new(
        config: &config::Access,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            admin: config.admin_api_key.as_ref().map(|key| hash(key.expose_secret())),
            anonymous_create: config.anonymous_create,
            trial: config.trial,
            store,
            clock,
            remembered: Arc::new(Cache::new(REMEMBERED_KEYS)),
            noting: Arc::default(),
            lifecycle,
        }
    }

    /// Who sends a request without a key.
    #[must_use]
    pub fn anonymous(&self) -> Caller {
        if self.trial {
            Caller::Admin
        } else {
            Caller::Anonymous {
                may_create: self.anonymous_create,
            }
        }
    }

    /// Who shows `key`. A key that is not known is an error, even where none is needed: it is a mistake
    /// that its owner wants to know of. `admit` says whether a key may be compared or looked up that was not found right
    /// within the last seconds.
    pub async fn identify(
        &self,
        key: &str,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Caller, Error> {
        let hash = hash(key);
        if self.remembered.get(&hash).is_none_or(|held| held.key.is_none()) {
            admit()?;
        }
        if !self.is_admin(&hash) && !is_well_formed(key) {
            return Err(Error::Unauthenticated);
        }
        self.holder(hash).await
    }

    /// The holder of `key`, and the key's hash. `admit` is as above.
    pub(super) async fn sign_in(
        &self,
        key: &str,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(Caller, KeyHash), Error> {
        Ok((self.identify(key, admit).await?, hash(key)))
    }

    /// The holder of the key that opened `session`. [`Error::Unauthenticated`] if that key was revoked or has expired.
    pub async fn holder_of(&self, session: &Session) -> Result<Caller, Error> {
        self.holder(session.key).await
    }

    fn is_admin(&self, hash: &KeyHash) -> bool {
        self.admin.is_some_and(|admin| bool::from(admin.ct_eq(hash)))
    }

    async fn holder(&self, hash: KeyHash) -> Result<Caller, Error> {
        if self.is_admin(&hash) {
            return Ok(Caller::Admin);
        }
        let now = self.clock.now();
        let key = self.find(hash, now).await?;
        key.filter(|key| key.is_valid(now))
            .map(Caller::Key)
            .ok_or(Error::Unauthenticated)
    }

    /// An id for a key that is to be created once.
    #[must_use]
    pub fn new_id() -> KeyId {
        let id = nanoid::nanoid!(ID_CHARS, &BASE62);
        id.parse().expect("an id is made of letters and digits")
    }

    /// Creates a key.
    pub async fn create(&self, by: &Caller, draft: KeyDraft) -> Result<IssuedKey, Error> {
        let issued = self.create_once(by, draft, Self::new_id()).await?;
        issued.ok_or_else(|| StoreError::Conflict.into())
    }

    /// Creates a key under an id of [`Keys::new_id`]; `None` if there is one with this id already.
    pub async fn create_once(
        &self,
        by: &Caller,
        draft: KeyDraft,
        id: KeyId,
    ) -> Result<Option<IssuedKey>, Error> {
        let key = Key::check(draft, id, self.clock.now()).map_err(Error::InvalidKey)?;
        let secret = format!("{PREFIX}{}", random_key());
        let (store, actor) = (Arc::clone(&self.store), by.actor());
        let creating = async move {
            let kind = ChangeKind::KeyCreated;
            match store.insert_key(&key, &hash(&secret), &actor).await {
                Ok(()) => audit::key(&actor, kind, &key.id),
                Err(StoreError::Conflict) => return Ok(None),
                Err(err) => return Err(failed(&actor, kind, &key.id, err)),
            }
            Ok(Some(IssuedKey {
                key,
                secret: secret.into(),
            }))
        };
        run_to_end(&self.lifecycle, |_stop| creating).await
    }

    /// `limit` keys or fewer, newest first: behind `after`, or from the newest on.
    pub async fn list(&self, after: Option<&KeyCursor>, limit: u8) -> Result<KeyPage, Error> {
        let after = after.unwrap_or(&KeyCursor::START);
        Ok(self.store.keys(after, limit).await?)
    }

    /// Revokes a key, which ends its sessions.
    pub async fn revoke(&self, by: &Caller, id: &str) -> Result<(), Error> {
        let id: KeyId = id.parse().map_err(|_| Error::KeyNotFound)?;
        let (store, actor) = (Arc::clone(&self.store), by.actor());
        let remembered = Arc::clone(&self.remembered);
        let revoking = async move {
            let kind = ChangeKind::KeyRevoked;
            let revoked = store.delete_key(&id, &actor).await;
            // This instance need not wait.
            remembered.clear();
            match revoked {
                Ok(true) => audit::key(&actor, kind, &id),
                Ok(false) => return Err(Error::KeyNotFound),
                Err(err) => return Err(failed(&actor, kind, &id, err)),
            }
            Ok(())
        };
        run_to_end(&self.lifecycle, |_stop| revoking).await
    }

    async fn find(&self, hash: KeyHash, now: Timestamp) -> Result<Option<Arc<Key>>, Error> {
        let trusted = |held: &Remembered| now >= held.at && now.duration_since(held.at) < REMEMBERED;
        if let Some(held) = self.remembered.get(&hash).filter(trusted) {
            return Ok(held.key);
        }
        let key = self.store.key(&hash).await?.map(Arc::new);
        let held = Remembered {
            key: key.clone(),
            at: now,
        };
        self.remembered.insert(hash, held);
        if let Some(key) = &key {
            self.note_use(key, now);
        }
        Ok(key)
    }

    /// Notes the hour, once in each, in a task: a request that reads waits for no write. Of several requests at once, one notes it.
    fn note_use(&self, key: &Key, now: Timestamp) {
        let second = now.as_second();
        let Ok(hour) = Timestamp::from_second(second - second.rem_euclid(3600)) else {
            return;
        };
        if key.last_used_at.is_some_and(|last| last >= hour) {
            return;
        }
        let Some(noting) = Noting::begin(&self.noting, &key.id) else {
            return;
        };
        let store = Arc::clone(&self.store);
        let task = async move {
            let id = &noting.id;
            if let Err(err) = store.touch_key(id, hour).await {
                tracing::debug!(error = %err, key.id = %id, "the use of key {id} was not noted: {err}");
            }
        };
        drop(self.lifecycle.spawn(|_stop| task));
    }
}

/// That the use of a key is being noted. Ends with this, also when the task panics.
struct Noting {
    all: Arc<Mutex<HashSet<KeyId>>>,
    id: KeyId,
}

impl Noting {
    /// `None` if another task does it already.
    fn begin(all: &Arc<Mutex<HashSet<KeyId>>>, id: &KeyId) -> Option<Self> {
        let begun = all.lock().insert(id.clone());
        begun.then(|| Self {
            all: Arc::clone(all),
            id: id.clone(),
        })
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        all.remove(&self.id);
    }
}

/// 32 letters and digits, 190 bits of the system's randomness.
#[must_use]
pub fn random_key() -> String {
    nanoid::nanoid!(SECRET_CHARS, &BASE62)
}

/// Passes on the error of a change. If the change may have been committed, it is logged so.
fn failed(actor: &Actor, kind: ChangeKind, id: &KeyId, err: StoreError) -> Error {
    if let StoreError::OutcomeUnknown(_) = &err {
        audit::unknown(actor, kind, id, &err);
    }
    err.into()
}

fn is_well_formed(key: &str) -> bool {
    key.strip_prefix(PREFIX).is_some_and(|secret| {
        secret.len() == SECRET_CHARS && secret.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}
