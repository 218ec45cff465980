//! Links whose clicks the store refused for good. Their clicks get a batch of their own for a while, so that they hold up no
//! others.

use std::collections::HashMap;
use std::time::Instant;

use super::losses::QUIET;
use crate::domain::Slug;

/// How many links are remembered.
const REMEMBERED: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// When the last click of the link was refused, and when that was logged.
    links: HashMap<Slug, (Instant, Instant)>,
}

impl Refusals {
    /// Whether a click of the link was refused lately.
    pub(super) fn has(&self, slug: &Slug) -> bool {
        self.links
            .get(slug)
            .is_some_and(|(refused, _)| refused.elapsed() < QUIET)
    }

    /// Remembers a refusal; `true` if it is to be logged: the first, and one a minute.
    pub(super) fn note(&mut self, slug: &Slug) -> bool {
        let now = Instant::now();
        if let Some((refused, logged)) = self.links.get_mut(slug) {
            *refused = now;
            if logged.elapsed() < QUIET {
                return false;
            }
            *logged = now;
            return true;
        }
        if self.links.len() >= REMEMBERED {
            self.links.clear();
        }
        self.links.insert(slug.clone(), (now, now));
        true
    }
}
