//! Previews: what a visitor may see of a link before following it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Error, Links, Visit};
use crate::domain::{GoneReason, Redirect, Slug};
use crate::store::ClickGrant;

/// What a visitor sees who looks before following.
#[derive(Debug)]
pub enum Preview {
    /// The link redirects.
    Link {
        /// Where it redirects to.
        redirect: Arc<Redirect>,
        /// More about it; `None` while the store cannot be asked, or this visitor may not have it asked.
        about: Option<About>,
    },
    /// There is no such link, or not yet.
    Unknown,
    /// The link was here.
    Gone(GoneReason),
}

/// What a preview shows of a link beside its destination.
#[derive(Debug)]
pub struct About {
    /// The title, if the link has one.
    pub title: Option<Arc<str>>,
    /// When the link was created.
    pub created_at: Timestamp,
}

impl Links {
    /// The preview of `slug`. No click is counted. `admit` says whether the store may be asked for what no cache knows; it is
    /// asked before each such read.
    pub async fn preview(
        &self,
        slug: &Slug,
        admit: impl Fn() -> Result<(), Error>,
    ) -> Result<Preview, Error> {
        let redirect = match self.resolver.look(slug, self.clock.now(), &admit).await? {
            Visit::Follow(redirect) => redirect,
            Visit::Unknown => return Ok(Preview::Unknown),
            Visit::Gone(reason) => return Ok(Preview::Gone(reason)),
        };
        let facts = self.resolver.facts();
        let facts = match facts.held(slug, redirect.revision, redirect.limited) {
            Some(held) => Ok(Some(held)),
            None => match admit() {
                Ok(()) => facts.read(slug).await,
                Err(refused) => Err(refused),
            },
        };
        let about = match facts {
            Ok(Some(facts)) if redirect.limited && facts.grant == ClickGrant::UsedUp => {
                return Ok(Preview::Gone(GoneReason::LimitReached));
            }
            Ok(Some(facts)) => Some(About {
                title: facts.title,
                created_at: facts.created_at,
            }),
            Ok(None) => return Ok(Preview::Unknown),
            // The destination is what a visitor looks for, and it is known.
            Err(_) => None,
        };
        Ok(Preview::Link { redirect, about })
    }
}
