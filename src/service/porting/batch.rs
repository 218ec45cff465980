//! A batch of an import: taken, published and counted, also when the sender of the import is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::{Actor, ChangeKind, Redirect};
use crate::service::{Error, Links, audit};
use crate::store::{Arrival, Rules, StoreError, Taken};

/// How often a batch is sent again while the store is unavailable, and the first pause before it.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// How many links an import created or changed so far. The last one to hold it logs them: the import, or the batch that it
/// left behind when its sender went away.
pub(super) struct Imported {
    actor: Actor,
    count: AtomicU64,
    /// Whether the import came to its end.
    whole: AtomicBool,
}

impl Imported {
    pub(super) fn new(actor: Actor) -> Self {
        Self {
            actor,
            count: AtomicU64::new(0),
            whole: AtomicBool::new(false),
        }
    }

    /// The import came to its end.
    pub(super) fn is_whole(&self) {
        self.whole.store(true, Ordering::Relaxed);
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        let count = self.count.load(Ordering::Relaxed);
        if count > 0 {
            audit::import(&self.actor, count, self.whole.load(Ordering::Relaxed));
        }
    }
}

impl Links {
    /// Takes a batch and publishes it. A batch whose outcome is not known is sent again: what was taken is then
    /// unchanged.
    pub(super) async fn take_batch(
        &self,
        arrivals: Vec<Arrival>,
        rules: &Rules,
        imported: &Imported,
    ) -> Result<(Vec<Arrival>, Vec<Taken>), Error> {
        let mut tries = 0;
        let taken = loop {
            match self.store.take_links(&arrivals, rules, &imported.actor).await {
                Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) if tries < TRIES => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
                    tries += 1;
                }
                Ok(taken) => break taken,
                Err(err) => {
                    let slugs = arrivals.iter().map(|arrival| &arrival.link.slug);
                    return Err(self
                        .all_failed(&imported.actor, ChangeKind::LinkUpdated, slugs, err)
                        .await);
                }
            }
        };
        let (mut count, mut replaced) = (0, Vec::new());
        for (arrival, taken) in arrivals.iter().zip(&taken) {
            count += u64::from(matches!(taken, Taken::Inserted(_) | Taken::Overwritten(_)));
            if let Taken::Overwritten(revision) = taken {
                replaced.push(Redirect {
                    revision: *revision,
                    ..arrival.link.redirect()
                });
            }
        }
        imported.count.fetch_add(count, Ordering::Relaxed);
        // New links need no publishing: an absence is remembered for seconds only, and what removed an older link under
        // the same slug was recorded.
        self.resolver.publish_changes(replaced).await;
        Ok((arrivals, taken))
    }
}
