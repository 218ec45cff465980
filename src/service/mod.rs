//! Floor 3: what the service does, whoever asks and whatever keeps it.

mod audit;
mod batch;
mod blocklist;
mod change_tail;
mod click_limits;
mod clicks;
mod error;
mod expected;
mod flights;
mod floors;
mod health;
mod housekeeping;
mod keys;
mod lifetimes;
mod limits;
mod link_facts;
mod links;
mod lost_writes;
mod mutations;
mod porting;
mod preview;
mod publisher;
mod qr;
mod random;
mod rendering;
mod resolver;
mod seal;
mod selection;
mod sessions;
mod shared_check;
mod slugs;
mod stats;
mod visit;

pub use audit::AuditTrail;
pub use batch::{Batch, Item, Render, RequestName};
pub use blocklist::Blocklist;
pub use clicks::{Clicks, Seen, is_program};
pub use error::Error;
pub use expected::Expected;
pub use health::{Check, Health, Readiness};
pub use housekeeping::Housekeeping;
pub use keys::{Caller, IssuedKey, Keys, Scope, random_key};
pub use limits::{Limits, SharedLimits};
pub use links::{Links, ListRequest, Origin};
pub use porting::{
    Concern, Export, ExportFormat, Format, Import, ImportError, ImportRequest, OnConflict, Outcome, Report,
    Trouble, UnknownChoice, UnknownExport, UnknownFormat, Unreadable,
};
pub use preview::{About, Preview};
pub use qr::{Qr, QrError, QrLevel, UnknownLevel};
pub use rendering::Rendering;
pub use resolver::Resolver;
pub use selection::Toggled;
pub use sessions::{Session, Sessions};
pub use slugs::{RandomSlugs, SlugSource};
pub use stats::Stats;
pub use visit::Visit;

pub use crate::store::Answer;
