//! Visits of links with a click limit.

use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::sync::Cache as UsedUp;

use super::Error;
use super::link_facts::LinkFacts;
use super::publisher::Caches;
use super::visit::Visit;
use crate::domain::{GoneReason, Redirect, Revision, Slug};
use crate::store::ClickGrant;

/// The most links that are remembered as used up.
const MOST: usize = 10_000;

/// Links whose click limit is used up, at the revision for which it is. Clicks never fall, and a limit changes with
/// the revision.
#[derive(Debug)]
pub(super) struct ClickLimits {
    used_up: UsedUp<Slug, Revision>,
    facts: LinkFacts,
}

impl ClickLimits {
    /// Reads what a request without a click needs through `facts`.
    pub(super) fn new(facts: LinkFacts) -> Self {
        Self {
            used_up: UsedUp::new(MOST),
            facts,
        }
    }

    /// A link with a click limit as far as this instance knows: the store is not asked.
    pub(super) fn look(&self, redirect: Arc<Redirect>) -> Visit {
        if self.used_up.get(&redirect.slug) == Some(redirect.revision) {
            return Visit::Gone(GoneReason::LimitReached);
        }
        Visit::Follow(redirect)
    }

    /// Visits a link with a click limit. The store decides a click, exactly; no cache is asked, but for a limit that is used
    /// up. A request that is no click gets what the store said at most a second ago.
    pub(super) async fn visit(
        &self,
        caches: &Caches,
        mut redirect: Arc<Redirect>,
        now: Timestamp,
        counts: bool,
    ) -> Result<Visit, Error> {
        let slug = redirect.slug.clone();
        if self.used_up.get(&slug) == Some(redirect.revision) {
            return Ok(Visit::Gone(GoneReason::LimitReached));
        }
        loop {
            let taken = if counts {
                caches.store.take_click(&slug, redirect.revision).await?
            } else {
                self.facts.grant(&slug, redirect.revision).await?
            };
            match taken {
                ClickGrant::Granted => return Ok(Visit::Follow(redirect)),
                ClickGrant::UsedUp => {
                    self.used_up.insert(slug, redirect.revision);
                    return Ok(Visit::Gone(GoneReason::LimitReached));
                }
                ClickGrant::NotLimited | ClickGrant::Gone => {}
            }
            // The link is another one by now.
            caches.forget_in_memory(&slug).await;
            let Some(now_known) = caches.store.redirect(&slug).await? else {
                return Ok(Visit::Unknown);
            };
            redirect = Arc::new(now_known);
            if let Some(visit) = Visit::of(&redirect, now) {
                return Ok(visit);
            }
        }
    }
}
