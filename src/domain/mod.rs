//! Floor 0: the words of a URL shortener as types, and the rules they keep.
//!
//! Nothing here reads a file, a socket, the environment or the time of day.

mod agent;
mod block_rule;
mod bot;
mod change;
mod checks;
mod click;
mod clock;
mod domains;
mod draft;
mod fault;
mod forwarded;
mod history;
mod key;
mod key_page;
mod link;
mod page;
mod patch;
mod rate;
mod redirect;
mod scan;
mod scatter;
mod search;
mod selection;
mod slug;
mod statistics;
mod target;
mod time;
mod typed;

pub use agent::Agent;
pub use bot::is_bot;
pub use change::{
    Actor, AuditCursor, AuditPage, AuditQuery, AuditRecord, BrokenAuditCursor, ChangeKind, ChangePage,
    LinkChange, UnknownActor, UnknownChangeKind,
};
pub use click::{Click, ClickBatch, Dimension, country, language, referrer};
pub use clock::{Clock, CorrectedClock, ManualClock, SystemClock};
pub use domains::{BadList, Domain, DomainList, NoDomain};
pub use draft::{LinkDraft, NewLink};
pub use fault::{Fault, FaultCode};
pub use forwarded::forwarded_for;
pub use history::History;
pub use key::{Key, KeyDraft, KeyId, NoKeyId, Scope, UnknownScope};
pub use key_page::{KeyCursor, KeyPage};
pub use link::{Link, Revision};
pub use page::{BrokenCursor, Cursor, LinkPage, LinkQuery, LinkState, Ranking, Totals, UnknownState};
pub use patch::{Change, LinkPatch, LinkUpdate};
pub use rate::{Rate, Taken};
pub use redirect::{GoneReason, Period, Rank, Redirect, RedirectStatus, UnknownStatus, Verdict};
pub use scan::{SCAN_MARK, is_scan, without_scan_mark};
pub use search::SearchText;
pub use selection::Selection;
pub use slug::{Slug, SlugError, SlugPolicy};
pub use statistics::{
    Bucket, Counts, Interval, Range, RangeError, Ranked, Statistics, Tally, day_of, hour_of,
};
pub use target::{TargetError, TargetPolicy, TargetUrl};
pub use time::{GivenTime, NoTime, time_in_utc};
pub use typed::{TypedSlug, trim_invisible, typed_target};
