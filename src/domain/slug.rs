//! The name of a link: what stands after the slash.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use smol_str::SmolStr;

/// A slug: 1 to 64 of `A-Z a-z 0-9 _ -`, case-sensitive. Up to 23 of them take no memory of their own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(SmolStr);

/// Why a text is no slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// It has no character.
    #[error("a slug has at least one character")]
    Empty,
    /// It has more than [`Slug::MAX_LEN`] characters.
    #[error("a slug has at most {} characters", Slug::MAX_LEN)]
    TooLong,
    /// It has a character outside `A-Z a-z 0-9 _ -`.
    #[error("a slug is made of A-Z a-z 0-9 _ and -")]
    Char,
    /// It is kept for the service itself.
    #[error("this slug is reserved for the service itself")]
    Reserved,
    /// It ends in `z` and the service runs on Cloud Run.
    #[error("on Cloud Run a slug cannot end in z: Google's front end keeps such paths for itself")]
    FinalZ,
}

/// Which well-formed slugs may not be claimed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlugPolicy {
    /// Refuse slugs that end in `z`: Google's front end answers some of these paths itself.
    /// See <https://cloud.google.com/run/docs/known-issues>.
    pub refuse_final_z: bool,
}

impl Slug {
    /// The most characters that a slug has.
    pub const MAX_LEN: usize = 64;

    /// First path segments that the service answers itself, or that Google's front end keeps.
    pub const RESERVED: [&str; 13] = [
        "_ah",
        "admin",
        "api",
        "app",
        "assets",
        "docs",
        "eventlog",
        "health",
        "login",
        "metrics",
        "static",
        "version",
        "well-known",
    ];

    /// Checks that `text` has the form of a slug, without keeping it.
    pub fn check(text: &str) -> Result<(), SlugError> {
        if text.is_empty() {
            return Err(SlugError::Empty);
        }
        if !text.bytes().all(|byte| Self::may_hold(char::from(byte))) {
            return Err(SlugError::Char);
        }
        if text.len() > Self::MAX_LEN {
            return Err(SlugError::TooLong);
        }
        Ok(())
    }

    /// Whether a slug may have this character.
    #[must_use]
    pub fn may_hold(char: char) -> bool {
        char.is_ascii_alphanumeric() || char == '_' || char == '-'
    }

    /// A slug that a client chose for a new link.
    pub fn claim(text: &str, policy: SlugPolicy) -> Result<Self, SlugError> {
        let slug: Self = text.parse()?;
        if Self::RESERVED.contains(&text) {
            return Err(SlugError::Reserved);
        }
        if policy.refuse_final_z && text.ends_with('z') {
            return Err(SlugError::FinalZ);
        }
        Ok(slug)
    }

    /// The slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
