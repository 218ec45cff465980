//! Visits of links with a click limit.

use std::sync::Arc;

use jiff::Timestamp;
use quick_cache::sync::Cache as UsedUp;

use super::Error;
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
}

impl Default for ClickLimits {
    fn default() -> Self {
        Self {
            used_up: UsedUp::new(MOST),
        }
    }
}

impl ClickLimits {
    /// Visits a link with a click limit. The store decides, exactly; no cache is asked, but for a limit that is used up.
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
                caches.store.take_click(&slug).await?
            } else {
                look(caches, &slug).await?
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

/// Whether a click would be granted, without taking it.
async fn look(caches: &Caches, slug: &Slug) -> Result<ClickGrant, Error> {
    let Some(link) = caches.store.link(slug).await? else {
        return Ok(ClickGrant::Gone);
    };
    Ok(match link.max_clicks {
        _ if link.disabled => ClickGrant::Gone,
        None => ClickGrant::NotLimited,
        Some(limit) if link.clicks < limit => ClickGrant::Granted,
        Some(_) => ClickGrant::UsedUp,
    })
}
