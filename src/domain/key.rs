//! Keys: who may do what.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use super::checks::{check_text, keep};
use super::{Fault, FaultCode};

/// The name of a key that is no secret: 1 to 32 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyId(Box<str>);

/// A text that is the id of no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's id is made of letters and digits")]
pub struct NoKeyId;

impl KeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let good = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        good.then(|| Self(text.into())).ok_or(NoKeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Make links.
    LinksCreate,
    /// See links.
    LinksRead,
    /// Change and delete links.
    LinksWrite,
    /// See the statistics of links.
    StatsRead,
    /// Make and revoke keys. Whoever may do this may do everything, by a key of their own making.
    KeysAdmin,
}

/// A text that is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of links:create, links:read, links:write, stats:read, keys:admin")]
pub struct UnknownScope;

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [
        Self::LinksCreate,
        Self::LinksRead,
        Self::LinksWrite,
        Self::StatsRead,
        Self::KeysAdmin,
    ];

    /// The scope as it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinksCreate => "links:create",
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::StatsRead => "stats:read",
            Self::KeysAdmin => "keys:admin",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or(UnknownScope)
    }
}

/// A key as the store keeps it: all but its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name for programs.
    pub id: KeyId,
    /// Its name for people.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// Whether other links than those it made are hidden from it.
    pub own_links_only: bool,
    /// Of no use from this time on.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The hour in which it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// What a client asks for when it makes a key: of the right types, not yet checked.
#[derive(Debug, Clone, Default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the key object in the HTTP contract"
)]
pub struct KeyDraft {
    pub name: String,
    pub scopes: Vec<String>,
    pub own_links_only: bool,
    pub expires_at: Option<Timestamp>,
}

impl Key {
    /// The most characters of a name.
    pub const MAX_NAME_CHARS: usize = 200;

    /// The key that a draft makes at `now`; on failure all its faults, in the order of the fields.
    pub fn check(draft: KeyDraft, id: KeyId, now: Timestamp) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let out_of_range =
            |pointer: &str, detail: &str| Fault::new(pointer, FaultCode::OutOfRange, detail.to_owned());
        if draft.name.trim().is_empty() {
            faults.push(out_of_range("/name", "a key's name has at least one character"));
        }
        keep(
            &mut faults,
            check_text("/name", &draft.name, Self::MAX_NAME_CHARS),
        );
        if draft.scopes.is_empty() {
            faults.push(out_of_range("/scopes", "a key has at least one scope"));
        }
        let mut scopes = Vec::new();
        for (at, text) in draft.scopes.iter().enumerate() {
            match text.parse::<Scope>() {
                Ok(scope) if !scopes.contains(&scope) => scopes.push(scope),
                Ok(_) => {}
                Err(err) => faults.push(out_of_range(&format!("/scopes/{at}"), &err.to_string())),
            }
        }
        scopes.sort_unstable();
        if draft.own_links_only && scopes.contains(&Scope::KeysAdmin) {
            faults.push(out_of_range(
                "/own_links_only",
                "a key that makes keys is not held to its own links",
            ));
        }
        let expires_at = keep(
            &mut faults,
            draft
                .expires_at
                .map(|time| super::checks::time("/expires_at", time))
                .transpose(),
        );
        if draft.expires_at.is_some_and(|end| end <= now) {
            faults.push(out_of_range("/expires_at", "the key would have expired already"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            id,
            name: draft.name,
            scopes,
            own_links_only: draft.own_links_only,
            expires_at: expires_at.flatten(),
            created_at: now,
            last_used_at: None,
        })
    }

    /// Whether it is of use at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}
