//! Statistics of a link.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Caller, Error};
use crate::domain::{Clock, Interval, Link, Range, RangeError, Ranking, Slug, Statistics, Totals};
use crate::store::Store;

/// Knows what was clicked.
#[derive(Debug)]
pub struct Stats {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Stats {
    /// The statistics in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The buckets from `from` to `to`; without them, those of the last days.
    pub fn range(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        interval: Interval,
    ) -> Result<Range, RangeError> {
        Range::new(from, to, interval, self.clock.now())
    }

    /// The buckets from `back` ago to now.
    pub fn last(&self, back: SignedDuration, interval: Interval) -> Result<Range, RangeError> {
        let now = self.clock.now();
        Range::new(now.checked_sub(back).ok(), None, interval, now)
    }

    /// Links that `caller` sees, in an order, without the first `start`. Reads every one of them.
    pub async fn ranked(
        &self,
        caller: &Caller,
        ranking: Ranking,
        start: u32,
        limit: u32,
    ) -> Result<Vec<Link>, Error> {
        Ok(self
            .store
            .ranked_links(caller.held_to(), ranking, start, limit)
            .await?)
    }

    /// Sums over the links that `caller` sees. Reads every one of them.
    pub async fn totals(&self, caller: &Caller) -> Result<Totals, Error> {
        Ok(self.store.totals(caller.held_to()).await?)
    }

    /// The statistics of `slug` over `range`, with at most `limit` values of each dimension.
    pub async fn of(&self, slug: &Slug, range: Range, limit: u16) -> Result<Statistics, Error> {
        let tally = self.store.tally(slug, &range, limit).await?;
        Ok(Statistics::new(range, tally.ok_or(Error::LinkNotFound)?))
    }
}
