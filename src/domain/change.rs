//! Changes of links, keys and sessions: what the store records with each of them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::scatter::{gather, gather_time, scatter};
use super::{KeyId, Rank, Revision, Slug};

/// Who made a change. Its text is `admin`, `key:ID`, `anonymous`, `operator` or `system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The holder of the key of the settings, or any caller in trial mode.
    Admin,
    /// The holder of an API key.
    Key(KeyId),
    /// A caller without a key.
    Anonymous,
    /// A person at the command line.
    Operator,
    /// The service itself: maintenance.
    System,
}

/// A text that is no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an actor is admin, key:ID, anonymous, operator or system")]
pub struct UnknownActor;

impl Actor {
    /// The text without the id of a key.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Key(_) => "key",
            Self::Anonymous => "anonymous",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    /// The key, if it is one.
    #[must_use]
    pub fn key_id(&self) -> Option<&KeyId> {
        match self {
            Self::Key(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            other => f.write_str(other.role()),
        }
    }
}

impl FromStr for Actor {
    type Err = UnknownActor;

    fn from_str(text: &str) -> Result<Self, UnknownActor> {
        Ok(match text {
            "admin" => Self::Admin,
            "anonymous" => Self::Anonymous,
            "operator" => Self::Operator,
            "system" => Self::System,
            _ => {
                let id = text.strip_prefix("key:").ok_or(UnknownActor)?;
                Self::Key(id.parse().map_err(|_| UnknownActor)?)
            }
        })
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the texts")]
pub enum ChangeKind {
    LinkCreated,
    LinkUpdated,
    LinkDisabled,
    LinkEnabled,
    LinkDeleted,
    LinkRestored,
    LinkPurged,
    KeyCreated,
    KeyRevoked,
    SessionOpened,
    SessionClosed,
    /// A sign-in with a key that is not valid.
    SessionRefused,
    /// The sealing secret was replaced, which closes every session.
    SessionsRotated,
}

/// A text that is no kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "one of link.created, link.updated, link.disabled, link.enabled, link.deleted, link.restored, link.purged, \
     key.created, key.revoked, session.opened, session.closed, session.refused, sessions.rotated"
)]
pub struct UnknownChangeKind;

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::LinkCreated,
        Self::LinkUpdated,
        Self::LinkDisabled,
        Self::LinkEnabled,
        Self::LinkDeleted,
        Self::LinkRestored,
        Self::LinkPurged,
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::SessionOpened,
        Self::SessionClosed,
        Self::SessionRefused,
        Self::SessionsRotated,
    ];

    /// The kind as it is stored, logged and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinkCreated => "link.created",
            Self::LinkUpdated => "link.updated",
            Self::LinkDisabled => "link.disabled",
            Self::LinkEnabled => "link.enabled",
            Self::LinkDeleted => "link.deleted",
            Self::LinkRestored => "link.restored",
            Self::LinkPurged => "link.purged",
            Self::KeyCreated => "key.created",
            Self::KeyRevoked => "key.revoked",
            Self::SessionOpened => "session.opened",
            Self::SessionClosed => "session.closed",
            Self::SessionRefused => "session.refused",
            Self::SessionsRotated => "sessions.rotated",
        }
    }

    /// The kind of an update, by whether the link was disabled before it and is after it.
    #[must_use]
    pub fn of_update(disabled_before: bool, disabled_after: bool) -> Self {
        match (disabled_before, disabled_after) {
            (false, true) => Self::LinkDisabled,
            (true, false) => Self::LinkEnabled,
            _ => Self::LinkUpdated,
        }
    }

    /// Whether the link is gone afterwards.
    #[must_use]
    pub fn removes(self) -> bool {
        matches!(self, Self::LinkDeleted | Self::LinkPurged)
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChangeKind {
    type Err = UnknownChangeKind;

    fn from_str(text: &str) -> Result<Self, UnknownChangeKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownChangeKind)
    }
}

impl Serialize for ChangeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A change of a link, as far as caches need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// The link's slug.
    pub slug: Slug,
    /// The version of what the slug resolves to since then.
    pub version: Rank,
    /// When the statement made it, by the database's clock. It is visible to others when its transaction commits.
    pub changed_at: Timestamp,
    /// What it did; never [`ChangeKind::LinkCreated`].
    pub kind: ChangeKind,
}

impl LinkChange {
    /// The version that a link, or its absence, has after a change that left it at `revision`, or removed it at that
    /// revision.
    #[must_use]
    pub fn version_of(kind: ChangeKind, revision: Revision) -> Rank {
        if kind.removes() {
            Rank::of_deletion(revision)
        } else {
            Rank::of_link(revision)
        }
    }
}

/// Changes of links in the order of their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes.
    pub changes: Vec<LinkChange>,
    /// The database's clock when the statement began.
    pub now: Timestamp,
    /// Whether these are all changes since the time that was asked for; `false` if the limit cut the rest off.
    pub complete: bool,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When the statement made it, by the database's clock.
    pub changed_at: Timestamp,
    /// What it did.
    pub kind: ChangeKind,
    /// Who made it.
    pub actor: Actor,
    /// The slug of the link; `None` for a change of a key or a session.
    pub slug: Option<Slug>,
    /// The revision that the change gave the link, or its deletion; `None` for a change of a key or a session.
    pub revision: Option<Revision>,
    /// The key that was created or revoked, or whose session it is; `None` for a change of a link, and for a session of
    /// the admin key.
    pub key_id: Option<KeyId>,
}

/// Which recorded changes to list. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// The most records of a page.
    pub limit: u8,
    /// Only records after this place, which are older.
    pub after: Option<AuditCursor>,
    /// The slug that the link had.
    pub slug: Option<Slug>,
    /// Who made the change.
    pub actor: Option<Actor>,
    /// What it did.
    pub kind: Option<ChangeKind>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Recorded changes, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The records. A page may be short, or empty, and still have a next one.
    pub records: Vec<AuditRecord>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<AuditCursor>,
}

/// A place in the list of recorded changes. Like [`Cursor`](super::Cursor), it is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    changed_at: Timestamp,
    id: i64,
}

/// A text that is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is the next_cursor of an earlier answer")]
pub struct BrokenAuditCursor;

impl AuditCursor {
    /// The place of the record that the store keeps under this time and number.
    #[must_use]
    pub fn at(changed_at: Timestamp, id: i64) -> Self {
        Self { changed_at, id }
    }

    /// The time of the record.
    #[must_use]
    pub fn changed_at(self) -> Timestamp {
        self.changed_at
    }

    /// Its number.
    #[must_use]
    pub fn id(self) -> i64 {
        self.id
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scatter(self.changed_at.as_microsecond()))?;
        f.write_str(&scatter(self.id))
    }
}

impl FromStr for AuditCursor {
    type Err = BrokenAuditCursor;

    fn from_str(text: &str) -> Result<Self, BrokenAuditCursor> {
        let (time, id) = text.split_at_checked(text.len() / 2).ok_or(BrokenAuditCursor)?;
        Ok(Self {
            changed_at: gather_time(time).ok_or(BrokenAuditCursor)?,
            id: gather(id).ok_or(BrokenAuditCursor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["admin", "key:a1B2c3D4e5F6", "anonymous", "operator", "system"] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["", "key", "key:", "key:ä", "root", "Admin"] {
            assert_eq!(text.parse::<Actor>(), Err(UnknownActor), "{text}");
        }
        for kind in ChangeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("link.made".parse::<ChangeKind>(), Err(UnknownChangeKind));
    }

    #[test]
    fn a_cursor_is_read_back_and_a_mistyped_one_is_broken() {
        let cursor = AuditCursor::at(Timestamp::from_microsecond(1_795_226_400_123_456).unwrap(), 7);

        let text = cursor.to_string();

        assert_eq!(text.parse(), Ok(cursor));
        for wrong in [
            "",
            "x",
            "ä",
            &text[1..],
            &text[..24],
            &text.replacen(&text[5..6], "g", 1),
        ] {
            assert_eq!(wrong.parse::<AuditCursor>(), Err(BrokenAuditCursor), "{wrong}");
        }
        assert_eq!(
            format!("{}{}", &text[24..], &text[..24])
                .parse::<AuditCursor>()
                .ok()
                .filter(|other| *other == cursor),
            None
        );
    }
}
