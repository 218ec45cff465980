//! Who is asking, and what they may do.

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Error;
use crate::config;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Make links.
    LinksCreate,
    /// See links.
    LinksRead,
    /// Change and delete links.
    LinksWrite,
    /// See statistics.
    StatsRead,
}

impl Scope {
    /// The scope as it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinksCreate => "links:create",
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::StatsRead => "stats:read",
        }
    }
}

/// Somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The holder of the key with every scope, or anybody in trial mode.
    Admin,
    /// Somebody without a key.
    Anonymous {
        /// Whether links may be made without a key.
        may_create: bool,
    },
}

impl Caller {
    /// Succeeds if the caller may use `scope`.
    pub fn require(self, scope: Scope) -> Result<(), Error> {
        match self {
            Self::Admin => Ok(()),
            Self::Anonymous { may_create: true } if scope == Scope::LinksCreate => Ok(()),
            Self::Anonymous { .. } => Err(Error::Unauthenticated),
        }
    }
}

/// Knows the keys.
#[derive(Debug)]
pub struct Keys {
    /// SHA-256 of the key with every scope: all keys compare in the same time, whatever their length.
    admin: Option<[u8; 32]>,
    anonymous_create: bool,
    trial: bool,
}

impl Keys {
    /// The keys of the settings.
    #[must_use]
    pub fn new(config: &config::Access) -> Self {
        Self {
            admin: config.admin_api_key.as_ref().map(|key| hash(key.expose_secret())),
            anonymous_create: config.anonymous_create,
            trial: config.trial,
        }
    }

    /// Who shows `key`. A key that is not known is an error, even where none is needed: it is a mistake
    /// that its owner wants to know of.
    pub fn identify(&self, key: Option<&str>) -> Result<Caller, Error> {
        match key {
            None if self.trial => Ok(Caller::Admin),
            None => Ok(Caller::Anonymous {
                may_create: self.anonymous_create,
            }),
            Some(key) => match self.admin {
                Some(admin) if bool::from(admin.ct_eq(&hash(key))) => Ok(Caller::Admin),
                _ => Err(Error::Unauthenticated),
            },
        }
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
