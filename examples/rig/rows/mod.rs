//! The rows: a fault each, what must hold meanwhile, and what holds.

mod counting;
mod fleet;
mod freshness;
mod invalidation;
mod isolation;
mod look_ups;
mod outcomes;
mod overload;
mod postgres;
mod promise;
mod redis;
mod stops;
mod wire;
mod writes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::bed::{Bed, Ground, Scale};
use super::client::Client;
use super::ledger::{Entry, Kind, Ledger, Selection};
use super::load::{Load, Traffic, create, created_target};
use super::report::Check;

/// One row of the table.
pub struct Row {
    pub id: &'static str,
    pub title: &'static str,
    pub run: fn(Arc<Ground>) -> BoxFuture<'static, Vec<Check>>,
}

macro_rules! rows {
    ($($id:literal $title:literal $run:path;)*) => {
        /// Every row, in the order of the table.
        pub const ROWS: &[Row] = &[$(Row { id: $id, title: $title, run: |ground| Box::pin($run(ground)) }),*];
    };
}

rows! {
    "R0" "The promise: Postgres and Redis both gone" promise::both_down;
    "R0b" "An instance starts while Postgres is down" promise::started_without_postgres;
    "R1" "Redis frozen" redis::frozen;
    "R2" "Redis killed, and back empty" redis::killed;
    "R3" "Redis slow, then sliced, then reset again and again" redis::slow;
    "R4" "Redis lies" redis::lies;
    "R5" "Postgres killed under load, and back" postgres::killed;
    "R6" "Postgres frozen" postgres::frozen;
    "R7" "Postgres behind a black hole" postgres::blackholed;
    "R8" "Postgres fails over to read-only" postgres::read_only;
    "R9" "A lock on the table of links" postgres::locked;
    "R10" "A stampede" look_ups::stampede;
    "R11" "A scan of unknown slugs" look_ups::scan;
    "R12" "Changes and take-downs seen by three instances" freshness::seen_everywhere;
    "R12b" "A disable by an instance that is cut off from Redis" invalidation::writer_cut_off;
    "R12c" "A replica of Redis promoted without the last write" invalidation::replica_promoted;
    "R12d" "Clients that leave right after they sent a change" outcomes::client_resets;
    "R12e" "Changes whose answers do not come in time" outcomes::answer_held_back;
    "R12f" "An instance that was frozen during a disable" invalidation::frozen;
    "R12g" "A disable after a restore of the database" invalidation::restored;
    "R13" "A slow reader against a writer" freshness::slow_reader;
    "R14" "Rolling restarts behind haproxy" fleet::rolling;
    "R14b" "Postgres gone behind haproxy, which probes" fleet::probed;
    "R15" "SIGTERM at saturation" stops::terminated;
    "R16" "SIGKILL under load" stops::killed;
    "R17" "No CPU between requests" fleet::without_cpu;
    "R17b" "Frozen in the middle of a batch of clicks" counting::frozen_in_a_batch;
    "R18" "Many instances at once, few connections" fleet::scale_out;
    "R19" "Requests sent again under their keys" writes::sent_again;
    "R20" "A migration under load" writes::migrated;
    "R21" "Random requests" wire::random;
    "R22" "Targets of all kinds" wire::targets;
    "R23" "Broken, slow and split requests" wire::abuse;
    "R24" "Overload" overload::threefold;
    "R25" "Budgets" overload::budgets;
    "R26" "Searchers beside clicks" isolation::searchers;
    "R27" "A used-up link beside creates" isolation::used_up;
    "R28" "All connections lost, the database far away" isolation::far_away;
    "R29" "Clicks that the database refuses" counting::poison;
    "R30" "A stop under as many clicks as there can be" counting::stopped;
}

/// Redirects of links that there are.
const LINKS: &[Kind] = &[Kind::Hot, Kind::Warm, Kind::Cold];
/// Redirects of links that were used within the last hour.
const USED: &[Kind] = &[Kind::Hot, Kind::Warm];
const CREATES: &[Kind] = &[Kind::Create];
const COLD: &[Kind] = &[Kind::Cold];
const ALL: &[Kind] = &[Kind::Hot, Kind::Warm, Kind::Cold, Kind::Unknown, Kind::Create];

async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A bed with so many instances whose caches know every hot and warm link.
async fn warm_bed(ground: &Arc<Ground>, instances: usize) -> Bed {
    let bed = ground.bed(instances).await;
    bed.warm_up().await;
    bed
}

/// Starts the common load and lets it run for a while, for a baseline. Answers where the baseline ends.
async fn baseline(bed: &Bed, scale: Scale) -> (Load, Instant) {
    let load = Load::start(&bed.clients(), Traffic::common(200.0));
    pause(scale.seconds(10, 2)).await;
    (load, Instant::now())
}

/// The baseline's p99 of redirects, 5 ms at the least, and a margin.
fn allowed(ledger: &Ledger, until: Instant, margin: Duration) -> Duration {
    let base = ledger.within(LINKS, ledger.began, until).p99();
    base.max(Duration::from_millis(5)) + margin
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Errors among the requests of these kinds in a span: none is allowed.
fn no_errors(what: &str, ledger: &Ledger, kinds: &[Kind], from: Instant, to: Instant) -> Check {
    let chosen = ledger.within(kinds, from, to);
    let errors = chosen.count(Entry::is_error);
    let figure = if errors == 0 {
        format!("0 of {}", chosen.len())
    } else {
        format!("{errors} of {}: {}", chosen.len(), chosen.outcomes())
    };
    Check::that(what, "0", &figure, errors == 0 && chosen.len() > 0)
}

/// Every one of these is a redirect to the right place.
fn all_302(what: &str, chosen: &Selection) -> Check {
    let good = chosen.count(|entry| entry.is(302) && entry.right);
    let figure = if good == chosen.len() {
        format!("{good} of {good}")
    } else {
        format!("{good} of {}: {}", chosen.len(), chosen.outcomes())
    };
    Check::that(what, "all 302", &figure, good == chosen.len() && good > 0)
}

/// Answers that say something else than the link does.
fn none_wrong(ledger: &Ledger) -> Check {
    let all = ledger.select(|_| true);
    Check::exactly("wrong answers", 0, all.count(|entry| !entry.right))
}

/// Sends every create that was not acknowledged again, under its key, until it is; then compares with the database.
async fn settle_creates(bed: &Bed, client: &Client, ledger: &Ledger) -> Vec<Check> {
    let acknowledged = |ledger: &Ledger| -> HashSet<u64> {
        let done = ledger.select(|entry| entry.kind == Kind::Create && entry.is(201));
        done.0.iter().map(|entry| entry.number).collect()
    };
    let before = acknowledged(ledger);
    let open = ledger.select(|entry| entry.kind == Kind::Create && !before.contains(&entry.number));
    for entry in &open.0 {
        for _ in 0..20 {
            create(client, entry.number, Instant::now(), ledger).await;
            if acknowledged(ledger).contains(&entry.number) {
                break;
            }
            pause(millis(100)).await;
        }
    }
    let acknowledged = acknowledged(ledger);
    let kept = made(bed).await;
    let lost = acknowledged
        .iter()
        .filter(|&&number| !kept.contains_key(&created_target(number)))
        .count();
    let twice = kept.values().filter(|&&count| count > 1).count();
    vec![
        Check::that(
            "acknowledged links lost",
            "0",
            &format!("{lost} of {}", acknowledged.len()),
            lost == 0 && !acknowledged.is_empty(),
        ),
        Check::exactly("links made twice under one key", 0, twice),
    ]
}

/// The targets of the links that the load made, and how many links have each.
async fn made(bed: &Bed) -> HashMap<String, usize> {
    let query = "SELECT target FROM links WHERE target LIKE 'https://example.org/made/%'";
    let mut kept = HashMap::new();
    for target in bed.ground.postgres.texts(&bed.database, query).await {
        *kept.entry(target).or_insert(0) += 1;
    }
    kept
}

/// How long after `since` the first of these succeeded, in the order of their ends.
fn first_success(chosen: &Selection, status: u16, since: Instant) -> Option<Duration> {
    let mut ends: Vec<Instant> = chosen
        .0
        .iter()
        .filter(|entry| entry.is(status) && entry.ended >= since)
        .map(|entry| entry.ended)
        .collect();
    ends.sort();
    Some(ends.first()?.saturating_duration_since(since))
}

/// A first success that has to come within a time.
fn comes_within(what: &str, limit: Duration, came: Option<Duration>) -> Check {
    match came {
        Some(came) => Check::at_most(what, limit, came),
        None => Check::that(
            what,
            &format!("<= {}", super::report::text(limit)),
            "never",
            false,
        ),
    }
}
