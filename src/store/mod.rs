//! Floor 2: where links are kept. One port, [`Store`], and two adapters behind it.

mod batch;
mod changes;
mod chores;
mod error;
mod limits;
mod migration;
mod open;
mod porting;
mod postgres;
mod rollup;
mod selection;
mod sessions;
mod sqlite;
mod traced;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{
    Actor, AuditPage, AuditQuery, ChangeKind, ChangePage, ClickBatch, Key, KeyCursor, KeyId, KeyPage, Link,
    LinkPage, LinkQuery, Range, Ranking, Redirect, Revision, Selection, Slug, Tally, Totals,
};

pub use batch::{Answer, BatchOutcome, Candidate, Made, Once, Render};
pub use error::StoreError;
pub use migration::{Migrated, Migration, SCHEMA_VERSION};
pub use open::{faults, migrate, migrate_further, open, open_measured};
pub use porting::{Arrival, Porting, Rules, Taken};
pub use postgres::{Purpose as PostgresPurpose, Settings as PostgresSettings};
pub use selection::{Place, Selected};
pub use sessions::{OpenSession, SecretName, SessionHash, SessionStore, SharedSecret};
pub use traced::traced;

/// What is to be done now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Sum clicks by value that wait for it.
    SumValues,
    /// Make room for the clicks of the month of this time and of the two after it.
    MakePartitions(Timestamp),
    /// Delete clicks from before this time. Clicks in partitions go by whole months.
    DropClicks(Timestamp),
    /// Delete the stats by hour from before this time.
    DropHours(Timestamp),
    /// Delete the stats by value from before this time.
    DropValues(Timestamp),
    /// Delete the orphaned stats of links that are gone.
    DropRemains,
    /// Forget who visited on the days before this one, and their keys.
    ForgetVisitors(Timestamp),
    /// Forget the batches that were recorded before this time.
    ForgetBatches(Timestamp),
    /// Forget for good the links that were set aside before this time.
    ForgetSetAside(Timestamp),
    /// Delete sessions that ended until this time.
    DropSessions(Timestamp),
    /// Forget the answers to requests with an idempotency key that were kept until this time.
    ForgetAnswers(Timestamp),
    /// Delete links that expired before this time.
    PurgeLinks(Timestamp),
    /// Delete changes that were recorded before this time.
    DropChanges(Timestamp),
}

/// What became of a click of a link with a click limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickGrant {
    /// It is counted, and redirects.
    Granted,
    /// The limit is reached.
    UsedUp,
    /// The link has no limit any more. Nothing is counted.
    NotLimited,
    /// There is no such link any more, it is disabled, or another link was created under its slug.
    Gone,
}

/// What operators watch over days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// When a round of maintenance last succeeded in every job.
    pub maintained_at: Option<Timestamp>,
    /// When the next API key expires, of those that have not.
    pub next_key_expiry: Option<Timestamp>,
}

/// SHA-256 of a key.
pub type KeyHash = [u8; 32];

/// Keeps links. Every operation is whole: it happens, or nothing of it does. One that changes links or keys takes the
/// actor, and records the change in the same transaction.
///
/// Any operation may answer [`StoreError::Unavailable`]: the database was not reached, did not answer in
/// time, or refused for a reason that is not the caller's.
#[async_trait]
pub trait Store: Porting + SessionStore + std::fmt::Debug + Send + Sync {
    /// What a visitor of `slug` needs, or `None` if there is no such link.
    async fn redirect(&self, slug: &Slug) -> Result<Option<Redirect>, StoreError>;

    /// The link called `slug`, or `None` if there is none.
    async fn link(&self, slug: &Slug) -> Result<Option<Link>, StoreError>;

    /// Keeps a new link and answers the revision drawn for it; the link's own is ignored.
    /// [`StoreError::SlugTaken`] if its slug is in use.
    async fn insert_link(&self, link: &Link, actor: &Actor) -> Result<Revision, StoreError>;

    /// Keeps new links, in one transaction. A slug that is taken concerns its own candidate alone. Of any number of
    /// calls at once with candidates that may be reused, one makes the link and the others reuse it.
    ///
    /// With `once`, the answer is kept in the same transaction. Of any number of calls with one name, one does the
    /// work, and the others answer what it answered. A link with an owner is recorded as created by it.
    async fn insert_links(
        &self,
        candidates: &[Candidate],
        once: Option<&Once>,
        actor: &Actor,
    ) -> Result<BatchOutcome, StoreError>;

    /// Writes every field of `link` but its slug, clicks, owner and creation time, and answers the new revision.
    /// [`StoreError::Conflict`] if the kept link is no longer at `link.revision`, or is gone.
    async fn update_link(&self, link: &Link, kind: ChangeKind, actor: &Actor)
    -> Result<Revision, StoreError>;

    /// Removes a link, of `owner` and at `expected` if they are given, and answers the revision drawn for the deletion, or
    /// `None` if there was none.
    async fn delete_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError>;

    /// The newest links that `query` asks for. It examines a bounded number of links, so a page may hold fewer than were
    /// asked for, even none, and still have a next one.
    async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError>;

    /// The links of an owner, or of all, in an order; `limit` of them, without the first `start`.
    async fn ranked_links(
        &self,
        owner: Option<&KeyId>,
        ranking: Ranking,
        start: u32,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError>;

    /// Sums over the links of an owner, or of all.
    async fn totals(&self, owner: Option<&KeyId>) -> Result<Totals, StoreError>;

    /// A step of a walk over the links of `selection`: looks at `limit` links or fewer, from a place on. All steps
    /// together find each link that was there from the first to the last.
    async fn select_links(
        &self,
        selection: &Selection,
        from: &Place,
        limit: u32,
    ) -> Result<Selected, StoreError>;

    /// Takes down those of `slugs` that are in `selection`, or puts them up if those of the selection are down.
    /// Answers those that were changed, as they are now.
    async fn toggle_links(
        &self,
        selection: &Selection,
        slugs: &[Slug],
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Vec<Redirect>, StoreError>;

    /// Removes a link, of `owner` and at `expected` if they are given, but keeps it for [`Store::restore_link`]; answers the
    /// revision drawn for that, or `None` if there was none.
    async fn set_link_aside(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError>;

    /// Brings back the link that was set aside last under `slug`, of `owner` if one is given, with its clicks and sums,
    /// under a new revision; `None` if there is none that was set aside at `since` or later.
    /// [`StoreError::SlugTaken`] if another link has its slug.
    async fn restore_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        since: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Link>, StoreError>;

    /// Keeps a new key. [`StoreError::Conflict`] if there is one with its id.
    async fn insert_key(&self, key: &Key, hash: &KeyHash, actor: &Actor) -> Result<(), StoreError>;

    /// The key with this hash, expired or not, or `None` if there is none.
    async fn key(&self, hash: &KeyHash) -> Result<Option<Key>, StoreError>;

    /// `limit` keys or fewer behind a place, newest first.
    async fn keys(&self, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError>;

    /// Removes a key and its sessions; `false` if there was none. Links that it made keep it as their owner.
    async fn delete_key(&self, id: &KeyId, actor: &Actor) -> Result<bool, StoreError>;

    /// Notes that a key was used at a time, unless it was used later.
    async fn touch_key(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError>;

    /// Takes one click of a link with a click limit that redirects at `revision`. Exact, however many instances ask at once.
    async fn take_click(&self, slug: &Slug, revision: Revision) -> Result<ClickGrant, StoreError>;

    /// Stores a batch of clicks and adds them to the sums, whole and once; `false` if a batch with its id was stored before.
    /// So a batch whose outcome is not known may be sent again; and a batch without clicks takes the id, so that the
    /// earlier batch can no longer be stored. Clicks of links that are gone are left out, also where another link has the slug
    /// now. [`StoreError::Refused`] if it
    /// can never be stored as it is.
    async fn record_clicks(&self, batch: &Arc<ClickBatch>) -> Result<bool, StoreError>;

    /// The key of the visitor hashes of the day that begins at `day`: the one that is kept, or else
    /// `candidate`, which is kept then. All instances get the same. Keys of days before the last are deleted.
    async fn visitor_secret(&self, day: Timestamp, candidate: &str) -> Result<String, StoreError>;

    /// The sums of a link over `range`, and for each dimension its `limit` most frequent values; `None` if
    /// there is no such link.
    async fn tally(&self, slug: &Slug, range: &Range, limit: u16) -> Result<Option<Tally>, StoreError>;

    /// Does a piece of a chore that is small enough to disturb nobody, and answers how many rows or tables it
    /// touched; 0 if there was nothing left to do. Many instances may do the same one at once.
    async fn keep_house(&self, chore: Chore) -> Result<u64, StoreError>;

    /// Records that a round of maintenance succeeded at a time, unless a later one did.
    async fn record_maintenance(&self, at: Timestamp) -> Result<(), StoreError>;

    /// What operators watch over days, as of `now`.
    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError>;

    /// The changes of links since a time, in the order of their times, but for those that created one; `limit` of them
    /// or fewer. A change becomes visible when its transaction commits, which may be seconds after its time.
    async fn changes_since(&self, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError>;

    /// The recorded changes that `query` asks for, newest first. Looks at a bounded number of them, so that a page may
    /// be short and have a next one.
    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// Succeeds if the database answers and its schema is the one that this build knows, or a newer one: a
    /// migration runs before the deploy, and new instances of the old build must start meanwhile.
    /// [`StoreError::Schema`] if it is an older one. Answers the time that the database has, if it has a clock of
    /// its own.
    async fn check(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Closes every connection. Later operations answer [`StoreError::Unavailable`].
    async fn close(&self);
}
