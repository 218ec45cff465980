//! Lists of links, a page at a time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::scatter::{gather, scatter};
use super::{KeyId, Link, SearchText};

/// Which links a list shows. What is `None` does not matter.
#[derive(Debug, Clone)]
pub struct LinkQuery {
    /// The most links of a page.
    pub limit: u8,
    /// Only links that come after this place.
    pub after: Option<Cursor>,
    /// A part of the slug, the target or the title, whatever its case.
    pub text: Option<SearchText>,
    /// One of the tags.
    pub tag: Option<String>,
    /// The state at `now`.
    pub state: Option<LinkState>,
    /// The key that made it.
    pub owner: Option<KeyId>,
    /// What time it is.
    pub now: Timestamp,
}

/// A part of a list, newest first.
#[derive(Debug, Clone)]
pub struct LinkPage {
    /// The links.
    pub links: Vec<Link>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<Cursor>,
}

impl LinkPage {
    /// The page of `limit` links out of up to one more, each with its place.
    pub(crate) fn of(mut rows: Vec<(Cursor, Link)>, limit: u8) -> Self {
        let more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        Self {
            next: rows.last().map(|(place, _)| *place).filter(|_| more),
            links: rows.into_iter().map(|(_, link)| link).collect(),
        }
    }
}

/// An order of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// Those with the most human clicks first.
    MostClicks,
    /// Those with the fewest human clicks first.
    FewestClicks,
    /// The newest first.
    Newest,
    /// Another one each time.
    Random,
}

/// Sums over links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// How many links there are.
    pub links: i64,
    /// Their human clicks.
    pub clicks: i64,
}

/// The state of a link at a time. Every link is in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It redirects.
    Live,
    /// Its time is still to come.
    Scheduled,
    /// Its time is over, or its click limit is used up.
    Expired,
    /// It was taken down.
    Disabled,
}

impl LinkState {
    /// The state of `link` at `now`.
    #[must_use]
    pub fn of(link: &Link, now: Timestamp) -> Self {
        let used_up = link.max_clicks.is_some_and(|most| link.clicks >= most);
        if link.disabled {
            Self::Disabled
        } else if used_up || link.expires_at.is_some_and(|end| now >= end) {
            Self::Expired
        } else if link.valid_from.is_some_and(|start| now < start) {
            Self::Scheduled
        } else {
            Self::Live
        }
    }
}

/// A text that is no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of live, scheduled, expired, disabled")]
pub struct UnknownState;

impl FromStr for LinkState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Ok(match text {
            "live" => Self::Live,
            "scheduled" => Self::Scheduled,
            "expired" => Self::Expired,
            "disabled" => Self::Disabled,
            _ => return Err(UnknownState),
        })
    }
}

/// A place in the list of all links. As text it says nothing of what it is, and one that was typed wrong shows.
/// It is no secret: whoever makes one up sees a part of the same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(i64);

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is the next_cursor of an earlier answer")]
pub struct BrokenCursor;

impl Cursor {
    /// The place of the link that the store keeps under this number.
    #[must_use]
    pub fn at(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scatter(self.0))
    }
}

impl FromStr for Cursor {
    type Err = BrokenCursor;

    fn from_str(text: &str) -> Result<Self, BrokenCursor> {
        let number = gather(text).filter(|number| *number > 0);
        number.map(Self).ok_or(BrokenCursor)
    }
}
