//! What a redirect needs to know of a link, and what it decides.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Revision, Slug, TargetUrl};

/// The part of a link that answers a visitor. This, and no more, is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The link's name. Kept with the value so that a cache's wrong answer is seen.
    pub slug: Slug,
    /// Which write of the link this is.
    pub revision: Revision,
    /// Where the visitor goes.
    pub target: TargetUrl,
    /// Status of the answer.
    pub status: RedirectStatus,
    /// Seconds that a browser may keep a permanent redirect; `None` is the service's default.
    pub cache_seconds: Option<u32>,
    /// Whether the visitor's query string is appended to the target's.
    pub forward_query: bool,
    /// When it leads there.
    pub period: Period,
    /// Whether the link has a click limit, so that each click must be asked of the store.
    pub limited: bool,
    /// Taken down.
    pub disabled: bool,
}

/// From when and until when a link leads to its target. Most links always do, and many are held in memory: that takes
/// one word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Period(Option<Box<Ends>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ends {
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl Period {
    /// A period with two ends, either of which may be open.
    #[must_use]
    pub fn new(valid_from: Option<Timestamp>, expires_at: Option<Timestamp>) -> Self {
        let ends = Ends {
            valid_from,
            expires_at,
        };
        Self((valid_from.is_some() || expires_at.is_some()).then(|| Box::new(ends)))
    }

    /// Not a link before this time.
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        self.0.as_ref()?.valid_from
    }

    /// Gone from this time on.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.as_ref()?.expires_at
    }
}

/// What a visitor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The redirect.
    Follow,
    /// The redirect, if the store grants one more click.
    FollowIfGranted,
    /// The same as a slug that never was: the link is not valid yet.
    Unknown,
    /// The link was here.
    Gone(GoneReason),
}

/// Why a link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneReason {
    /// Its `expires_at` has passed.
    Expired,
    /// It was taken down.
    Disabled,
    /// Its click limit is used up.
    LimitReached,
}

impl Redirect {
    /// What a visitor gets at `now`.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        if self.disabled {
            Verdict::Gone(GoneReason::Disabled)
        } else if self.period.expires_at().is_some_and(|end| now >= end) {
            Verdict::Gone(GoneReason::Expired)
        } else if self.period.valid_from().is_some_and(|start| now < start) {
            Verdict::Unknown
        } else if self.limited {
            Verdict::FollowIfGranted
        } else {
            Verdict::Follow
        }
    }

    /// The value of the `Location` header for a visitor who came with `query`
    /// (without its question mark).
    #[must_use]
    pub fn location(&self, query: &str) -> String {
        if self.forward_query {
            self.target.with_query(query)
        } else {
            self.target.as_str().to_owned()
        }
    }
}

/// The order of two states of one slug: the higher one was written later.
///
/// A link's rank is twice its [`Revision`]; the mark that it was deleted comes right after the revision drawn for the deletion;
/// a slug that was never seen has rank 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rank(u64);

impl Rank {
    /// The rank of a slug that was never seen.
    pub const UNSEEN: Self = Self(0);

    /// Above every rank that a state can have.
    pub const LAST: Self = Self(u64::MAX);

    /// The rank of a link at this revision.
    #[must_use]
    pub fn of_link(revision: Revision) -> Self {
        Self(revision.get().unsigned_abs().saturating_mul(2))
    }

    /// The rank of the mark left by a deletion that drew this revision.
    #[must_use]
    pub fn of_deletion(revision: Revision) -> Self {
        Self(Self::of_link(revision).0.saturating_add(1))
    }

    /// The rank right above this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The rank as a number, for a codec.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The rank that [`Rank::get`] gave.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// The status of a redirect: RFC 9110, sections 15.4.2, 15.4.3, 15.4.8 and 15.4.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RedirectStatus {
    /// 301 Moved Permanently
    MovedPermanently,
    /// 302 Found. The default: a cached permanent redirect would hide later clicks and changes.
    #[default]
    Found,
    /// 307 Temporary Redirect
    Temporary,
    /// 308 Permanent Redirect
    Permanent,
}

/// The number is none of the four redirect statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a redirect status is 301, 302, 307 or 308")]
pub struct UnknownStatus;

impl RedirectStatus {
    /// Every status of a redirect.
    pub const ALL: [Self; 4] = [
        Self::MovedPermanently,
        Self::Found,
        Self::Temporary,
        Self::Permanent,
    ];

    /// The status as a number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::Temporary => 307,
            Self::Permanent => 308,
        }
    }

    /// Whether browsers keep this redirect.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::MovedPermanently | Self::Permanent)
    }
}

impl TryFrom<i64> for RedirectStatus {
    type Error = UnknownStatus;

    fn try_from(code: i64) -> Result<Self, UnknownStatus> {
        match code {
            301 => Ok(Self::MovedPermanently),
            302 => Ok(Self::Found),
            307 => Ok(Self::Temporary),
            308 => Ok(Self::Permanent),
            _ => Err(UnknownStatus),
        }
    }
}

impl FromStr for RedirectStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        text.parse::<i64>().map_err(|_| UnknownStatus)?.try_into()
    }
}

impl fmt::Display for RedirectStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}

impl Serialize for RedirectStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.code())
    }
}
