//! Postgres fails. What is in use goes on, what needs it is refused soon, and nothing acknowledged is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::bed::Ground;
use super::super::ledger::{Entry, Ledger, Selection};
use super::super::proxy::Faults;
use super::super::report::Check;
use super::{ALL, COLD, CREATES, USED, all_302, allowed, baseline, comes_within, first_success, millis};
use super::{no_errors, none_wrong, pause, settle_creates, warm_bed};

/// No answer, or 500: what a client must never get while the database is away.
fn no_faults(ledger: &Ledger, from: Instant) -> Check {
    let all = ledger.within(ALL, from, Instant::now());
    let bad = all.count(|entry| entry.outcome.is_err() || entry.is(500));
    Check::exactly("answers of 500, or none", 0, bad)
}

/// What cannot be done without the database is refused, and soon. What had its answer only when all was well again may
/// have been done by then.
fn refused(
    what: &str,
    ledger: &Ledger,
    kinds: &[super::Kind],
    from: Instant,
    to: Instant,
    limit: Duration,
) -> Vec<Check> {
    let chosen = ledger.within(kinds, from, to);
    let meanwhile = chosen.count(|entry| entry.ended < to);
    let bad = chosen.count(|entry| entry.ended < to && !entry.is(503));
    vec![
        Check::that(
            &format!("{what} answered otherwise than 503"),
            "0",
            &format!("{bad} of {meanwhile}"),
            bad == 0 && meanwhile > 0,
        ),
        Check::at_most(&format!("{what}, the longest"), limit, chosen.longest()),
    ]
}

pub async fn killed(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, hit) = baseline(&bed, scale).await;

    let mut outages = Vec::new();
    for _ in 0..scale.pick(3, 1) {
        ground.postgres.kill().await;
        let down = Instant::now();
        pause(scale.seconds(5, 2)).await;
        let up = Instant::now();
        ground.postgres.boot().await;
        let accepts = ground.postgres.answers().await;
        outages.push((down, up, accepts));
        pause(scale.seconds(8, 3)).await;
    }
    let ledger = load.stop().await;

    let creates = ledger.within(CREATES, hit, Instant::now());
    let first = outages
        .iter()
        .map(|&(_, _, accepts)| first_success(&creates, 201, accepts))
        .collect::<Option<Vec<_>>>();
    let dark = ledger.select(|entry| {
        USED.contains(&entry.kind)
            && outages
                .iter()
                .any(|&(down, up, _)| entry.intended >= down && entry.intended < up)
    });
    let mut checks = vec![
        all_302(
            "links used within the last hour, over the whole run",
            &ledger.within(USED, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        no_faults(&ledger, hit),
    ];
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    let base = ledger.within(USED, ledger.began, hit).p99();
    checks.push(Check::at_most(
        "p99 of links used, while it is down",
        base.max(millis(5)).mul_f64(1.5),
        dark.p99(),
    ));
    checks.push(Check::at_most(
        "creates, the longest",
        millis(1000),
        creates.longest(),
    ));
    checks.push(comes_within(
        "first create after Postgres answers, the latest of all rounds",
        millis(2000),
        first.and_then(|times| times.into_iter().max()),
    ));
    checks
}

/// The longest of the requests, before the database answers again and when it does. A write that waits then is given
/// more time, since others get their answers.
fn longest(all: &Selection, healed: Instant) -> [Check; 2] {
    let (before, over): (Vec<Entry>, Vec<Entry>) =
        all.0.iter().cloned().partition(|entry| entry.ended < healed);
    [
        Check::at_most(
            "the longest request that ended before",
            millis(1200),
            Selection(before).longest(),
        ),
        Check::at_most(
            "the longest of the others",
            millis(2000),
            Selection(over).longest(),
        ),
    ]
}

pub async fn frozen(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, hit) = baseline(&bed, scale).await;

    ground.postgres.freeze();
    pause(scale.seconds(15, 4)).await;
    let healed = Instant::now();
    ground.postgres.thaw();
    pause(scale.seconds(5, 3)).await;
    let ledger = load.stop().await;

    let dark = ledger.within(USED, hit, healed);
    let settled = healed + Duration::from_secs(1);
    let all = ledger.within(ALL, hit, Instant::now());
    let mut checks = vec![
        all_302(
            "links used within the last hour, over the whole run",
            &ledger.within(USED, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        no_faults(&ledger, hit),
        Check::at_most("p99 of links used, while it is frozen", millis(60), dark.p99()),
    ];
    checks.extend(longest(&all, healed));
    checks.extend(refused("cold links", &ledger, COLD, hit, healed, millis(1200)));
    checks.extend(refused("creates", &ledger, CREATES, hit, healed, millis(1200)));
    checks.push(no_errors(
        "errors, from 1 s after the thaw on",
        &ledger,
        ALL,
        settled,
        Instant::now(),
    ));
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}

pub async fn blackholed(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, hit) = baseline(&bed, scale).await;

    bed.postgres.set(Faults {
        blackhole: true,
        ..Faults::default()
    });
    let mut gone = None;
    let length = scale.seconds(30, 7);
    while hit.elapsed() < length {
        if gone.is_none() && bed.postgres.open_from_before(hit) == 0 {
            gone = Some(hit.elapsed());
        }
        pause(millis(20)).await;
    }
    let healed = Instant::now();
    bed.postgres.heal();
    pause(scale.seconds(6, 3)).await;
    let ledger = load.stop().await;

    let settled = healed + Duration::from_secs(2);
    let all = ledger.within(ALL, hit, Instant::now());
    let cold = ledger.within(COLD, hit, Instant::now());
    let mut checks = vec![
        all_302(
            "links used within the last hour, over the whole run",
            &ledger.within(USED, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        no_faults(&ledger, hit),
        // A batch of clicks begins within a second, is waited for 5 s, and its end is asked for during 2 s: until then its
        // connection counts, so that the server never has more sessions than the pool's size.
        comes_within("connections from before are closed", millis(8500), gone),
        Check::at_most(
            "p99 of links used, meanwhile",
            millis(60),
            ledger.within(USED, hit, healed).p99(),
        ),
        comes_within(
            "first cold link after it heals",
            millis(2000),
            first_success(&cold, 302, healed),
        ),
        no_errors(
            "errors, from 2 s after it healed on",
            &ledger,
            ALL,
            settled,
            Instant::now(),
        ),
    ];
    checks.extend(longest(&all, healed));
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}

/// The ids of the program's processes in the server.
const BACKENDS: &str = "SELECT pid::text FROM pg_stat_activity WHERE usename = 'curtail'";

pub async fn read_only(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, _) = baseline(&bed, scale).await;
    let before = ground.postgres.texts(&bed.database, BACKENDS).await;

    let owner = ground.postgres.connect("postgres").await;
    owner
        .batch_execute("ALTER SYSTEM SET default_transaction_read_only = on")
        .await
        .unwrap();
    owner.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The server tells its sessions of it before it takes another one. None of them begins to write after that.
    let setting = "SELECT current_setting('default_transaction_read_only')";
    while ground.postgres.texts(&bed.database, setting).await != ["on"] {
        pause(millis(5)).await;
    }
    let hit = Instant::now();
    pause(scale.seconds(10, 3)).await;
    let meanwhile = ground.postgres.texts(&bed.database, BACKENDS).await;
    owner
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    owner
        .batch_execute("ALTER SYSTEM RESET default_transaction_read_only")
        .await
        .unwrap();
    let healed = Instant::now();
    owner.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    pause(scale.seconds(5, 3)).await;
    let ledger = load.stop().await;

    let creates = ledger.within(CREATES, hit, Instant::now());
    let evicted = before.iter().filter(|pid| !meanwhile.contains(pid)).count();
    let mut checks = vec![
        all_302(
            "links that there are",
            &ledger.within(super::LINKS, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        no_faults(&ledger, hit),
        Check::that("connections given up", ">= 1", &evicted.to_string(), evicted >= 1),
        comes_within(
            "first create after it",
            millis(2000),
            first_success(&creates, 201, healed),
        ),
    ];
    checks.extend(refused("creates", &ledger, CREATES, hit, healed, millis(1000)));
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}

pub async fn locked(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, _) = baseline(&bed, scale).await;

    let owner = ground.postgres.connect(&bed.database).await;
    owner.batch_execute("BEGIN; LOCK TABLE links").await.unwrap();
    let hit = Instant::now();
    pause(scale.seconds(10, 4)).await;
    let healed = Instant::now();
    owner.batch_execute("ROLLBACK").await.unwrap();
    pause(scale.seconds(5, 2)).await;
    let ledger = load.stop().await;

    let cold = ledger.within(COLD, hit, Instant::now());
    let mut checks = vec![
        all_302(
            "links used within the last hour, over the whole run",
            &ledger.within(USED, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        no_faults(&ledger, hit),
        Check::at_most(
            "p99 of hot links, while it is locked",
            allowed(&ledger, hit, millis(10)),
            ledger.within(&[super::Kind::Hot], hit, healed).p99(),
        ),
        comes_within(
            "first cold link after the release",
            millis(500),
            first_success(&cold, 302, healed),
        ),
    ];
    checks.extend(refused("cold links", &ledger, COLD, hit, healed, millis(400)));
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}
