//! One kind of load takes as much as it can get, and the others have what they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::bed::{Bed, Ground};
use super::super::client::{Client, get};
use super::super::ledger::{Entry, Kind, outcome};
use super::super::load::{COLD, HOT, Load, create, visit};
use super::super::proxy::Faults;
use super::super::report::Check;
use super::super::watch::BOUND;
use super::{all_302, millis, no_errors, none_wrong, pause};

/// Clicks that the database has counted.
const CLICKS: &str = "SELECT coalesce(sum(clicks), 0)::bigint FROM links";

/// What searchers ask for: texts and tags that few links have or none, and what takes a walk to find.
const SEARCHES: [&str; 6] = [
    "/links?q=zq",
    "/links?q=zqzq",
    "/links?q=example&state=disabled",
    "/links?tag=absent",
    "/links?state=expired",
    "/links?tag=absent&q=zq",
];

/// Searchers, each of whom asks again as soon as it has an answer.
struct Searchers {
    over: Arc<AtomicBool>,
    done: Arc<[AtomicUsize; 3]>,
    tasks: JoinSet<()>,
}

impl Searchers {
    fn start(client: &Arc<Client>, count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let done: Arc<[AtomicUsize; 3]> = Arc::default();
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (client, over, done) = (Arc::clone(client), Arc::clone(&over), Arc::clone(&done));
            tasks.spawn(async move {
                for turn in number.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer = client.api("GET", SEARCHES[turn % SEARCHES.len()], "", "").await;
                    let place = match answer.map(|answer| answer.status) {
                        Ok(200) => 0,
                        Ok(400 | 422 | 429 | 503) => 1,
                        _ => 2,
                    };
                    done[place].fetch_add(1, Ordering::SeqCst);
                    if place > 0 {
                        pause(millis(20)).await;
                    }
                }
            });
        }
        Self { over, done, tasks }
    }

    /// How many were answered, refused, and neither.
    async fn stop(self) -> [usize; 3] {
        self.over.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        std::array::from_fn(|place| self.done[place].load(Ordering::SeqCst))
    }
}

/// A store with so many links more. The indexes of the search are built afterwards, which takes a tenth of the time.
async fn grow(bed: &Bed, links: u32) {
    let owner = bed.ground.postgres.connect(&bed.database).await;
    let indexes = "FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid = 'links'::regclass AND amname = 'gin'";
    let texts = async |what: &str| -> Vec<String> {
        let rows = owner
            .query(&format!("SELECT {what} {indexes}"), &[])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let create = texts("pg_get_indexdef(indexrelid)").await;
    let drop = texts("'DROP INDEX ' || indexrelid::regclass::text").await;
    let insert = format!(
        "INSERT INTO links (slug, revision, target, title, tags, redirect_status, forward_query, disabled, created_at, updated_at)
         SELECT 'many-' || n, next_revision(0), 'https://example.org/' || md5(n::text),
             'A title of ' || md5((n * 7)::text), ARRAY['common'], 302, false, false, now(), now()
         FROM generate_series(1, {links}) AS n"
    );
    let prepare = "SET maintenance_work_mem = '256MB'".to_owned();
    let steps = std::iter::once(prepare)
        .chain(drop)
        .chain([insert])
        .chain(create)
        .chain(["ANALYZE links".to_owned()]);
    for step in steps {
        owner.batch_execute(&step).await.unwrap();
    }
}

/// Searches of a store with many links, one after the other by some clients, beside visitors whose clicks are counted.
pub async fn searchers(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    grow(&bed, scale.pick(400_000, 60_000)).await;
    bed.warm_up().await;
    pause(Duration::from_secs(2)).await;
    let before = bed.number(CLICKS).await;
    let client = Arc::clone(&bed.instances[0].client);
    let searchers = Searchers::start(&client, 12);
    let visitors = Arc::clone(&client);
    let load = Load::of(200.0, move |turn, intended, ledger| {
        let client = Arc::clone(&visitors);
        async move {
            // Each twentieth visitor follows a link that nobody has asked for.
            let (kind, number) = match turn % 20 {
                0 => (Kind::Cold, u64::from(turn) % COLD),
                _ => (Kind::Hot, fastrand::u64(..HOT)),
            };
            visit(&client, kind, number, intended, &ledger).await;
        }
    });
    let began = Instant::now();
    let mut behind = 0;
    let length = scale.seconds(30, 6);
    while began.elapsed() < length {
        pause(millis(250)).await;
        let sent = load.ledger.select(|entry| entry.is(302)).len();
        let counted = usize::try_from(bed.number(CLICKS).await - before).unwrap();
        behind = behind.max(sent.saturating_sub(counted));
    }
    let ledger = load.stop().await;
    let redirects = ledger.select(|entry| entry.is(302)).len();
    let asked = Instant::now();
    let mut counted = 0;
    // The last clicks are stored while the searches go on.
    while asked.elapsed() < Duration::from_secs(5) && counted != redirects {
        pause(millis(100)).await;
        counted = usize::try_from(bed.number(CLICKS).await - before).unwrap();
    }
    let [answered, refused, others] = searchers.stop().await;

    vec![
        all_302("visitors meanwhile", &ledger.select(|_| true)),
        none_wrong(&ledger),
        Check::that(
            "clicks that waited at the same time, of 200 a second",
            "<= 600: three seconds of them",
            &behind.to_string(),
            behind <= 600,
        ),
        Check::that(
            "clicks in the database within 5 s",
            &format!("{redirects}, the redirects answered"),
            &counted.to_string(),
            counted == redirects && redirects > 0,
        ),
        Check::that(
            "searches that were neither answered nor refused",
            "0",
            &format!("{others}, beside {answered} answered and {refused} refused"),
            others == 0 && answered > 0,
        ),
    ]
}

/// How often the database was asked whether a visitor may follow a link with a limit.
const TAKES: &str = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements(true)
    WHERE query LIKE '%SET clicks = clicks + %' AND query LIKE '%max_clicks%'
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Visitors hammer a link whose clicks are used up, beside clients who make links.
pub async fn used_up(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    bed.warm_up().await;
    let client = Arc::clone(&bed.instances[0].client);
    let body = "{\"url\":\"https://example.org/once\",\"slug\":\"once\",\"max_clicks\":1}";
    let made = client.api("POST", "/links", body, "").await;
    assert_eq!(made.map(|answer| answer.status), Ok(201));
    let first = client.get("/once").await.map(|answer| answer.status);
    bed.sql("CREATE EXTENSION pg_stat_statements").await;
    let before = bed.number(TAKES).await;
    let creators = Arc::clone(&client);
    let creates = Load::of(30.0, move |turn, intended, ledger| {
        let client = Arc::clone(&creators);
        async move { create(&client, u64::from(turn) + 5_000_000, intended, &ledger).await }
    });
    let hammer = Arc::clone(&client);
    let rate = scale.pick(2000.0, 300.0);
    let hammering = Load::of(rate, move |_, intended, ledger| {
        let client = Arc::clone(&hammer);
        async move {
            let answer = client.send(&get("/once")).await;
            ledger.add(Entry {
                kind: Kind::Unknown,
                intended,
                ended: Instant::now(),
                outcome: outcome(&answer),
                right: answer.is_ok_and(|answer| answer.status == 410),
                number: 0,
            });
        }
    });
    pause(scale.seconds(20, 4)).await;
    let hammered = hammering.stop().await.select(|_| true);
    let creates = creates.stop().await.select(|_| true);
    let asked = bed.number(TAKES).await - before;

    let made = creates.count(|entry| entry.is(201));
    let gone = hammered.count(|entry| entry.right);
    vec![
        Check::that(
            "the first visitor",
            "302",
            &format!("{first:?}"),
            first == Ok(302),
        ),
        Check::that(
            "statements for its other visitors",
            "<= 50",
            &asked.to_string(),
            asked <= 50 && before > 0,
        ),
        // On a machine that does other things the load itself may be too much for it.
        Check {
            of_speed: !scale.is_full(),
            ..Check::that(
                &format!("visitors of the used-up link, {rate:.0} a second, answered 410"),
                "all",
                &format!("{gone} of {}: {}", hammered.len(), hammered.outcomes()),
                gone == hammered.len() && gone > 0,
            )
        },
        Check {
            of_speed: !scale.is_full(),
            ..Check::that(
                "creates meanwhile, answered 201",
                ">= 99 %",
                &format!("{made} of {}: {}", creates.len(), creates.outcomes()),
                made * 100 >= creates.len() * 99 && made > 0,
            )
        },
        Check::at_most("p99 of these creates", millis(300), creates.p99()),
        Check::at_most("p99 of the used-up link", millis(50), hammered.p99()),
    ]
}

/// The database is far away, and every connection to it is lost.
pub async fn far_away(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    bed.warm_up().await;
    let client = Arc::clone(&bed.instances[0].client);
    let mut checks = Vec::new();
    for (round, there_and_back) in scale.pick(vec![120, 150], vec![150]).into_iter().enumerate() {
        bed.postgres.set(Faults {
            latency: millis(there_and_back / 2),
            ..Faults::default()
        });
        pause(Duration::from_secs(1)).await;
        let visitors = Arc::clone(&client);
        let first = round as u64 * COLD / 2;
        bed.postgres.reset_all();
        let lost = Instant::now();
        // The two connections for reads answer 13 cold reads a second at 150 ms, once they stand.
        let load = Load::of(5.0, move |turn, intended, ledger| {
            let client = Arc::clone(&visitors);
            async move { visit(&client, Kind::Cold, first + u64::from(turn), intended, &ledger).await }
        });
        pause(BOUND + scale.seconds(10, 2)).await;
        let ledger = load.stop().await;
        let cold = ledger.select(|_| true);
        let came = super::first_success(&cold, 302, lost);
        let mut back = super::comes_within(
            &format!("{there_and_back} ms there and back: first cold link after all connections are lost"),
            BOUND,
            came,
        );
        back.of_speed = false;
        checks.push(back);
        checks.push(no_errors(
            &format!("{there_and_back} ms: errors, from 5 s after that on"),
            &ledger,
            &[Kind::Cold],
            lost + BOUND,
            Instant::now(),
        ));
        checks.push(none_wrong(&ledger));
    }
    checks
}
