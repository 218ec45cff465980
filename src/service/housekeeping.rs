//! What has to be done now and then, by any instance or by many at once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Links, health};
use crate::config;
use crate::domain::{Clock, day_of};
use crate::store::{Chore, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// How long the id of a stored batch is remembered. An instance that was frozen for longer, with a batch whose outcome it
/// does not know, does not send that again (`clicks/flusher.rs`).
const BATCH_DAYS: i64 = 1;

/// Keeps the store clean.
#[derive(Debug)]
pub struct Housekeeping {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: config::Clicks,
    metrics: Arc<Metrics>,
}

impl Housekeeping {
    /// The housekeeping of `store`.
    pub fn new(
        config: &config::Clicks,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            clock,
            config: config.clone(),
            metrics,
        }
    }

    /// Succeeds if the store answers and has a schema that this build knows.
    pub async fn check(&self) -> Result<(), StoreError> {
        health::ask(self.store.as_ref(), self.clock.as_ref()).await
    }

    /// The chores as they stand now, each with its name for the log.
    #[must_use]
    pub fn chores(&self) -> Vec<(&'static str, Chore)> {
        let now = self.clock.now();
        let yesterday = days_before(day_of(now), 1);
        // Whole days, so that none is cut off while its last hours are kept.
        let kept = day_of(days_before(now, self.config.retention_days.into()));
        let mut chores = vec![
            ("partitions", Chore::MakePartitions(now)),
            ("values", Chore::SumValues),
            ("retention of clicks", Chore::DropClicks(kept)),
            ("retention of stats by hour", Chore::DropHours(kept)),
            ("retention of stats by value", Chore::DropValues(kept)),
            ("visitors", Chore::ForgetVisitors(yesterday)),
            ("batches", Chore::ForgetBatches(days_before(now, BATCH_DAYS))),
            ("answers", Chore::ForgetAnswers(now)),
            ("sessions", Chore::DropSessions(now)),
            (
                "changes",
                Chore::DropChanges(days_before(now, self.config.audit_retention_days.into())),
            ),
            ("deleted", Chore::ForgetSetAside(before(now, Links::UNDO * 2))),
        ];
        if let Some(days) = self.config.purge_after_days {
            chores.push(("purge", Chore::PurgeLinks(days_before(now, days.into()))));
        }
        // After the purge, whose links leave sums behind.
        chores.push(("orphaned stats", Chore::DropRemains));
        chores
    }

    /// The chore that gives each month of clicks its partition. The service cannot wait for a worker that may not run:
    /// all clicks would go to the default partition.
    #[must_use]
    pub fn partitions(&self) -> Chore {
        Chore::MakePartitions(self.clock.now())
    }

    /// Does the next piece of a chore, and answers how much it did; 0 if the chore is done.
    pub async fn work(&self, chore: Chore) -> Result<u64, StoreError> {
        self.store.keep_house(chore).await
    }

    /// Records that a round succeeded in every job, for the alert that fires when none does.
    pub async fn record_round(&self) -> Result<(), StoreError> {
        self.store.record_maintenance(self.clock.now()).await
    }

    /// Puts what operators watch over days into the metrics.
    pub async fn watch(&self) -> Result<(), StoreError> {
        let upkeep = self.store.upkeep(self.clock.now()).await?;
        let seconds = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_second);
        let maintenance = &self.metrics.maintenance;
        maintenance.last_success.set(seconds(upkeep.maintained_at));
        maintenance.next_key_expiry.set(seconds(upkeep.next_key_expiry));
        Ok(())
    }
}

fn days_before(time: Timestamp, days: i64) -> Timestamp {
    before(time, SignedDuration::from_hours(24 * days))
}

fn before(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.checked_sub(span).unwrap_or(Timestamp::MIN)
}
