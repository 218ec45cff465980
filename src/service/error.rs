//! The one error of the services.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::domain::{Fault, Taken};
use crate::store::StoreError;

/// Why a service did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No key, or one that is not known.
    #[error("no valid key was given")]
    Unauthenticated,
    /// The key is known, but is not for this.
    #[error("the key does not have the scope {0}")]
    InsufficientScope(&'static str),
    /// There is no such link.
    #[error("there is no such link")]
    LinkNotFound,
    /// There is no such key.
    #[error("there is no such key")]
    KeyNotFound,
    /// The key to be made breaks the rules.
    #[error("the key is not valid")]
    InvalidKey(Vec<Fault>),
    /// The caller gave the same name to another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// Somebody asked too often.
    #[error("asked too often")]
    RateLimited(Taken),
    /// The slug is in use.
    #[error("the slug is taken")]
    SlugTaken,
    /// The link to be made breaks the rules.
    #[error("the link is not valid")]
    InvalidLink(Vec<Fault>),
    /// The link has another revision than the change starts from.
    #[error("the link was changed in the meantime")]
    Stale,
    /// The change breaks the rules.
    #[error("the change is not valid")]
    InvalidPatch(Vec<Fault>),
    /// Too many wait for the store already.
    #[error("too many requests at once")]
    Overloaded,
    /// The change may have been made, or not: the store gave no answer in time.
    #[error("the outcome of the change is unknown: {0}")]
    OutcomeUnknown(Arc<StoreError>),
    /// Every slug that was generated is in use.
    #[error("{0} generated slugs in a row were in use: SLUG_LENGTH is too short for so many links")]
    NoFreeSlug(u8),
    /// A part of the program panicked. The panic hook has logged where and why.
    #[error("a panic, which has a line of its own in the log")]
    Panicked,
    /// The store did not do its part.
    #[error("the store failed: {0}")]
    Store(#[from] Arc<StoreError>),
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        if error.is_panic() {
            Self::Panicked
        } else {
            Self::from(StoreError::Unavailable(error.into()))
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::SlugTaken => Self::SlugTaken,
            StoreError::Overloaded => Self::Overloaded,
            unknown @ StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown(Arc::new(unknown)),
            StoreError::Panicked => Self::Panicked,
            other => Self::Store(Arc::new(other)),
        }
    }
}
