//! What can go wrong in a store.

use std::error::Error;

/// The one error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The slug is in use.
    #[error("the slug is taken")]
    SlugTaken,
    /// What was to be changed has changed since it was read.
    #[error("the link has changed since it was read")]
    Conflict,
    /// The database was not reached, did not answer in time, or refused.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The database refused the values, and would refuse them again: a constraint or a type does not allow them.
    #[error("the database refused the values: {0}")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// A change may have been committed, or not: the database did not answer in time, or the connection was lost after
    /// the statement was sent.
    #[error("no answer came, so the change may have been committed: {0}")]
    OutcomeUnknown(#[source] Box<dyn Error + Send + Sync>),
    /// The database answers, but so many wait for it already that one more would wait in vain.
    #[error("the database is busy: too many wait for it already")]
    Overloaded,
    /// A part of the store panicked. What it had begun is rolled back.
    #[error("the store panicked")]
    Panicked,
    /// The database's schema is not the one that this build knows.
    #[error("the database's schema is version {found}, this build needs version {known}: run `curtail migrate`{}",
        if found > known { " of the newer build, or start the newer build" } else { "" })]
    Schema {
        /// The version that the database has; 0 is none.
        found: i64,
        /// The version that this build knows.
        known: i64,
    },
    /// The settings do not name a usable database.
    #[error("{0}")]
    Settings(String),
    /// The database gave an answer that makes no sense, such as a row that breaks its own constraints.
    #[error("the database gave an unusable answer: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Wraps a driver's error.
    pub(super) fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}
