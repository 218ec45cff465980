//! Floor 4: the jobs that nobody waits for, one after the other, every hour. Each is safe to run twice, and by
//! many processes at once.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::service::Housekeeping;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);

/// Time between two pieces of one chore, for those who want the database too.
const BREATH: Duration = Duration::from_millis(10);

/// Does a round every hour until the stop.
pub async fn run(housekeeping: &Housekeeping, stop: &CancellationToken) {
    let mut timer = interval(ROUND);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        round(housekeeping, stop).await;
        watch(housekeeping).await;
    }
}

async fn watch(housekeeping: &Housekeeping) {
    if let Err(err) = housekeeping.watch().await {
        tracing::warn!(error = ?err, "the state of maintenance and API keys was not read: {err}");
    }
}

/// Creates the partitions that clicks are stored in, and reads what operators watch, at once and then every hour until the
/// stop. Each service does this.
pub async fn keep_partitions(housekeeping: &Housekeeping, stop: &CancellationToken) {
    let mut timer = interval(ROUND);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        while !stop.is_cancelled() {
            match housekeeping.work(housekeeping.partitions()).await {
                Ok(0) => break,
                Ok(_) => tokio::time::sleep(BREATH).await,
                Err(err) => {
                    tracing::warn!(error = ?err, "partitions for clicks were not created: {err}");
                    break;
                }
            }
        }
        watch(housekeeping).await;
    }
}

/// Does every chore once; `false` if one of them failed. A chore that fails does not hold up the others. The
/// stop is heeded between two pieces.
pub async fn round(housekeeping: &Housekeeping, stop: &CancellationToken) -> bool {
    let mut all_done = true;
    for (name, chore) in housekeeping.chores() {
        let mut done: u64 = 0;
        loop {
            if stop.is_cancelled() {
                tracing::info!(
                    chore.name = name,
                    chore.done = done,
                    "{name}: stopped after {done}"
                );
                return all_done;
            }
            match housekeeping.work(chore).await {
                Ok(0) => {
                    tracing::info!(chore.name = name, chore.done = done, "{name}: {done} done");
                    break;
                }
                Ok(number) => done += number,
                Err(err) => {
                    tracing::error!(chore.name = name, chore.done = done, error = ?err, "{name}: failed after {done}: {err}");
                    all_done = false;
                    break;
                }
            }
            tokio::time::sleep(BREATH).await;
        }
    }
    if all_done && let Err(err) = housekeeping.record_round().await {
        tracing::error!(error = ?err, "the round of maintenance was not recorded: {err}");
        return false;
    }
    all_done
}
