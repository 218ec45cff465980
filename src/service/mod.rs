//! Floor 3: what the service does, whoever asks and whatever keeps it.

mod batch;
mod error;
mod flights;
mod health;
mod keys;
mod limits;
mod links;
mod publisher;
mod resolver;
mod slugs;

pub use batch::{Batch, Item, Render, RequestName};
pub use error::Error;
pub use health::{Check, Health, Readiness};
pub use keys::{Caller, IssuedKey, Keys, Scope};
pub use limits::Limits;
pub use links::{Links, ListRequest, Origin};
pub use resolver::{Resolver, Visit};
pub use slugs::{RandomSlugs, SlugSource};

pub use crate::store::Answer;
