//! Statistics of a link.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Error;
use crate::domain::{Clock, Interval, Range, RangeError, Slug, Statistics};
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

    /// The statistics of `slug` over `range`, with at most `limit` values of each dimension.
    pub async fn of(&self, slug: &Slug, range: Range, limit: u16) -> Result<Statistics, Error> {
        let tally = self.store.tally(slug, &range, limit).await?;
        Ok(Statistics::new(range, tally.ok_or(Error::LinkNotFound)?))
    }
}
