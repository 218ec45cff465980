//! Every click is counted once, whatever becomes of a batch, and no batch is in anyone's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::super::bed::{Bed, Ground};
use super::super::instance::{Instance, command};
use super::super::ledger::{Entry, Kind, outcome};
use super::super::load::{COLD, HOT, Load, slug, visit};
use super::super::pooler::Pooler;
use super::super::proxy::{Faults, Proxy};
use super::super::report::Check;
use super::{Selection, all_302, millis, none_wrong, pause};

/// Clicks that the database has counted.
const CLICKS: &str = "SELECT coalesce(sum(clicks), 0)::bigint FROM links";
/// The same of the hot links.
const HOT_CLICKS: &str = "SELECT coalesce(sum(clicks), 0)::bigint FROM links WHERE slug LIKE 'hot-%'";

/// Transactions of the program that have written something.
const WRITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE usename = 'curtail' AND datname = current_database() AND backend_xid IS NOT NULL";

/// Waits until the database has counted so many clicks, and answers how many it has.
async fn counted(bed: &Bed, query: &str, expected: usize, limit: Duration) -> usize {
    let asked = Instant::now();
    loop {
        let counted = usize::try_from(bed.number(query).await).unwrap();
        if counted >= expected || asked.elapsed() > limit {
            return counted;
        }
        pause(millis(50)).await;
    }
}

fn all_counted(redirects: usize, counted: usize) -> Check {
    Check::that(
        "clicks in the database",
        &format!("{redirects}, the redirects answered"),
        &counted.to_string(),
        counted == redirects && redirects > 0,
    )
}

/// An instance is frozen while it stores a batch of clicks, straight at the database and behind a pooler.
pub async fn frozen_in_a_batch(ground: Arc<Ground>) -> Vec<Check> {
    let mut checks = frozen_rounds(&ground, None).await;
    // The pooler is a package that only the full form installs.
    if ground.scale.is_full() {
        let pooler = Pooler::before(ground.postgres.address()).await;
        checks.extend(frozen_rounds(&ground, Some(&pooler)).await);
    }
    checks
}

async fn frozen_rounds(ground: &Arc<Ground>, pooler: Option<&Pooler>) -> Vec<Check> {
    let rounds = ground.scale.pick(8, 4);
    let bed = ground.bed(1).await;
    let writer = Arc::clone(&bed.instances[0].client);
    let server = pooler.map_or(ground.postgres.address(), Pooler::address);
    let postgres = Proxy::before(server).await;
    let mut settings = bed.settings(&postgres, &bed.redis);
    settings.push(("CLICK_FLUSH_MS".to_owned(), "300".to_owned()));
    if pooler.is_some() {
        settings.push(("DATABASE_POOLER".to_owned(), "transaction".to_owned()));
    }
    let instance = Instance::start(command(&ground.program, &settings)).await;
    instance.started().await;
    // A batch takes as long as its round trips.
    postgres.set(Faults {
        latency: millis(10),
        ..Faults::default()
    });
    let server = ground.postgres.connect(&bed.database).await;
    let writing = async || server.query_one(WRITING, &[]).await.unwrap().get::<_, i64>(0) > 0;

    let (mut redirects, mut hit) = (0, 0);
    let mut writes = Vec::new();
    for _ in 0..rounds {
        let client = Arc::clone(&instance.client);
        let load = Load::of(300.0, move |_, intended, ledger| {
            let client = Arc::clone(&client);
            async move { visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await }
        });
        let ledger = Arc::clone(&load.ledger);
        pause(millis(700)).await;
        let waited = Instant::now();
        while !writing().await && waited.elapsed() < Duration::from_secs(2) {
            tokio::task::yield_now().await;
        }
        pause(millis(fastrand::u64(..100))).await;
        instance.signal(Signal::STOP);
        let stopping = tokio::spawn(load.stop());
        hit += usize::from(writing().await);
        let mut others = JoinSet::new();
        for number in 0..8 {
            let writer = Arc::clone(&writer);
            others.spawn(async move {
                let asked = Instant::now();
                let path = format!("/links/{}", slug(Kind::Hot, number));
                let body = format!("{{\"title\":\"{}\"}}", fastrand::u32(..));
                let answer = writer.api("PATCH", &path, &body, "").await;
                (asked, Instant::now(), outcome(&answer))
            });
        }
        while let Some(write) = others.join_next().await {
            let (intended, ended, outcome) = write.unwrap();
            writes.push(Entry {
                kind: Kind::Hot,
                intended,
                ended,
                outcome,
                right: true,
                number: 0,
            });
        }
        instance.signal(Signal::CONT);
        stopping.await.unwrap();
        redirects += ledger.select(|entry| entry.is(302)).len();
    }
    let writes = Selection(writes);
    let counted = counted(&bed, HOT_CLICKS, redirects, Duration::from_secs(8)).await;
    let failed = writes.count(|entry| !entry.is(200));
    let name = if pooler.is_some() {
        "behind PgBouncer: "
    } else {
        ""
    };
    let mut checks = vec![
        Check::that(
            &format!("{name}of {rounds} freezes, with a transaction open"),
            "any",
            &hit.to_string(),
            true,
        ),
        Check::bound(
            &format!("{name}another writer of these links, the longest"),
            Duration::from_secs(1),
            writes.longest(),
        ),
        Check::that(
            &format!("{name}its writes answered otherwise than 200"),
            "0",
            &format!("{failed} of {}: {}", writes.len(), writes.outcomes()),
            failed == 0,
        ),
    ];
    let mut all = all_counted(redirects, counted);
    all.what = format!("{name}{}", all.what);
    checks.push(all);
    checks
}

/// Clicks that the database refuses for good, among others.
pub async fn poison(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    // One by its link, which can count no further, and one by a rule that no click has broken so far.
    bed.sql(
        "ALTER TABLE links DROP CONSTRAINT IF EXISTS links_clicks_check;
         INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at, clicks)
         VALUES ('poison', next_revision(0), 'https://example.org/poison', '{}', 302, false, false, now(), now(),
             9223372036854775807);
         ALTER TABLE clicks ADD CONSTRAINT rig_referrer_check CHECK (referrer <> 'poison.example')",
    )
    .await;
    bed.warm_up().await;
    let warm = usize::try_from(HOT).unwrap();
    counted(&bed, HOT_CLICKS, warm, Duration::from_secs(5)).await;
    let client = Arc::clone(&bed.instances[0].client);
    let load = Load::of(200.0, move |turn, intended, ledger| {
        let client = Arc::clone(&client);
        async move {
            match turn % 100 {
                40 => {
                    let _ = client.get("/poison").await;
                }
                80 => {
                    let bad = super::super::client::get("/warm-0")
                        .replace("\r\n\r\n", "\r\nReferer: https://poison.example/\r\n\r\n");
                    let _ = client.send(&bad).await;
                }
                _ => visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await,
            }
        }
    });
    pause(scale.seconds(15, 3)).await;
    let ledger = load.stop().await;
    let redirects = ledger.select(|entry| entry.is(302)).len() + warm;
    let counted = counted(&bed, HOT_CLICKS, redirects, Duration::from_secs(4)).await;
    let kept = bed.number("SELECT clicks FROM links WHERE slug = 'poison'").await;
    vec![
        all_302("visitors", &ledger.select(|_| true)),
        none_wrong(&ledger),
        all_counted(redirects, counted),
        Check::that(
            "clicks of the link that can count no further",
            &i64::MAX.to_string(),
            &kept.to_string(),
            kept == i64::MAX,
        ),
    ]
}

/// Visitors of many links, as fast as they are answered.
struct Rush {
    over: Arc<AtomicBool>,
    /// Redirects, other answers, and requests without one.
    seen: Arc<[AtomicUsize; 3]>,
    visitors: JoinSet<()>,
}

impl Rush {
    fn start(instance: &Instance, visitors: usize, links: u64) -> Self {
        let mut rush = Self {
            over: Arc::default(),
            seen: Arc::default(),
            visitors: JoinSet::new(),
        };
        for _ in 0..visitors {
            let (client, over, seen) = (
                Arc::clone(&instance.client),
                Arc::clone(&rush.over),
                Arc::clone(&rush.seen),
            );
            rush.visitors.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let path = format!("/{}", slug(Kind::Cold, fastrand::u64(..links)));
                    let place = match client.get(&path).await.map(|answer| answer.status) {
                        Ok(302) => 0,
                        Ok(_) => 1,
                        Err(_) => 2,
                    };
                    seen[place].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        rush
    }

    async fn stop(self) -> [usize; 3] {
        self.over.store(true, Ordering::SeqCst);
        self.visitors.join_all().await;
        std::array::from_fn(|place| self.seen[place].load(Ordering::SeqCst))
    }
}

/// What a stop came to: of the redirects, each click is in the database, or the log says that it is lost and the exit
/// code says so too.
fn accounted(what: &str, redirects: usize, counted: usize, lost: u64, code: Option<i32>) -> Vec<Check> {
    let lost = usize::try_from(lost).unwrap();
    let expected = i32::from(lost > 0);
    vec![
        Check::that(
            &format!("{what}: clicks in the database, and clicks that the log says are lost"),
            &format!("{redirects}, the redirects answered"),
            &format!("{counted} and {lost}"),
            counted + lost == redirects && redirects > 0,
        ),
        Check::that(
            &format!("{what}: exit code"),
            &expected.to_string(),
            &format!("{code:?}"),
            code == Some(expected),
        ),
    ]
}

/// A stop under as many clicks as there can be, of many links, and a stop while the database is away.
pub async fn stopped(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let links = scale.pick(COLD / 2, 500);
    let bed = ground.bed(0).await;
    let mut instance = bed.start_instance().await;
    let warming = futures_util::stream::iter(0..links).map(|number| {
        let client = Arc::clone(&instance.client);
        async move { client.get(&format!("/{}", slug(Kind::Cold, number))).await }
    });
    let warm = warming.buffer_unordered(8).collect::<Vec<_>>().await;
    assert!(
        warm.iter()
            .all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 302))
    );
    bed.postgres.set(Faults {
        latency: millis(5),
        ..Faults::default()
    });
    let rush = Rush::start(&instance, 64, links);
    pause(scale.seconds(40, 5)).await;
    instance.signal(Signal::TERM);
    let told = Instant::now();
    // The listener stays open for a second.
    pause(millis(700)).await;
    let [redirects, others, unanswered] = rush.stop().await;
    let redirects = redirects + warm.len();
    let code = instance.ended(Duration::from_secs(15)).await;
    let took = told.elapsed();
    let stored = usize::try_from(bed.number(CLICKS).await).unwrap();
    let lost = instance.lost_clicks();
    let mut checks = vec![
        Check::exactly("requests without an answer", 0, unanswered),
        Check::exactly("answers other than 302", 0, others),
    ];
    checks.extend(accounted("under load", redirects, stored, lost, code));
    checks.push(Check::exactly(
        "under load: clicks lost",
        0,
        usize::try_from(lost).unwrap(),
    ));
    checks.push(Check::at_most("the stop took", Duration::from_secs(9), took));

    let mut instance = bed.start_instance().await;
    let client = Arc::clone(&instance.client);
    for number in 0..HOT {
        let _ = client.get(&format!("/{}", slug(Kind::Hot, number))).await;
    }
    counted(
        &bed,
        HOT_CLICKS,
        usize::try_from(HOT).unwrap(),
        Duration::from_secs(5),
    )
    .await;
    let before = usize::try_from(bed.number(CLICKS).await).unwrap();
    // A black hole would let the last batch through when it heals.
    bed.postgres.cut();
    let mut redirects = 0;
    for number in 0..HOT * 4 {
        let answer = client.get(&format!("/{}", slug(Kind::Hot, number % HOT))).await;
        redirects += usize::from(answer.is_ok_and(|answer| answer.status == 302));
    }
    instance.signal(Signal::TERM);
    let code = instance.ended(Duration::from_secs(15)).await;
    bed.postgres.heal();
    pause(millis(500)).await;
    let stored = usize::try_from(bed.number(CLICKS).await).unwrap() - before;
    let lost = instance.lost_clicks();
    checks.extend(accounted(
        "the database being away",
        redirects,
        stored,
        lost,
        code,
    ));
    checks
}
