//! Lists of API keys, a page at a time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::scatter::{gather_time, scatter};
use super::{BrokenCursor, Key, KeyId};

/// A part of the list of keys, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<Key>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<KeyCursor>,
}

impl KeyPage {
    /// The page of `limit` keys out of up to one more.
    pub(crate) fn of(mut keys: Vec<Key>, limit: u8) -> Self {
        let more = keys.len() > usize::from(limit);
        keys.truncate(usize::from(limit));
        let last = keys.last().filter(|_| more);
        Self {
            next: last.map(|key| KeyCursor {
                created_at: key.created_at,
                id: Some(key.id.clone()),
            }),
            keys,
        }
    }
}

/// A place in the list of keys. Like [`Cursor`](super::Cursor), it is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCursor {
    created_at: Timestamp,
    id: Option<KeyId>,
}

impl KeyCursor {
    /// The place before the newest key.
    pub const START: Self = Self {
        created_at: Timestamp::MAX,
        id: None,
    };

    /// When the key before this place was created.
    pub(crate) fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Its id, which orders keys that were created at one time.
    pub(crate) fn id(&self) -> &str {
        self.id.as_ref().map_or("", KeyId::as_str)
    }
}

impl fmt::Display for KeyCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scatter(self.created_at.as_microsecond()))?;
        f.write_str(self.id())
    }
}

impl FromStr for KeyCursor {
    type Err = BrokenCursor;

    fn from_str(text: &str) -> Result<Self, BrokenCursor> {
        let (time, id) = text.split_at_checked(24).ok_or(BrokenCursor)?;
        Ok(Self {
            created_at: gather_time(time).ok_or(BrokenCursor)?,
            id: Some(id.parse().map_err(|_| BrokenCursor)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_a_mistyped_one_is_broken() {
        let cursor = KeyCursor {
            created_at: Timestamp::from_microsecond(1_795_226_400_123_456).unwrap(),
            id: Some("a1B2c3D4e5F6".parse().unwrap()),
        };

        let text = cursor.to_string();

        assert_eq!(text.parse(), Ok(cursor));
        for wrong in [
            "",
            "x",
            "ä",
            &text[1..],
            &text[..24],
            &format!("{text}-"),
            &KeyCursor::START.to_string(),
        ] {
            assert_eq!(wrong.parse::<KeyCursor>(), Err(BrokenCursor), "{wrong}");
        }
    }
}
