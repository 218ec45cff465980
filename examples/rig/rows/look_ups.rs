//! Many ask for the same, and somebody asks for what there is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::super::bed::{Bed, Ground};
use super::super::ledger::{Entry, Kind, outcome};
use super::super::load::{HOT, Load, slug, visit};
use super::super::report::Check;
use super::{millis, pause};

/// How often the database was asked for a redirect.
async fn selects(bed: &Bed) -> i64 {
    bed.number(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements(true)
         WHERE query LIKE '%FROM links WHERE slug = $1%' AND query LIKE '%limited%'
         AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .await
}

/// Calls of a command of Redis.
async fn calls(ground: &Ground, command: &str) -> u64 {
    let mut redis = ground.redis.connect().await;
    let text: String = cmd("INFO")
        .arg("commandstats")
        .query_async(&mut redis)
        .await
        .unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok())
        .unwrap_or(0)
}

pub async fn stampede(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    bed.sql("CREATE EXTENSION pg_stat_statements").await;
    let client = Arc::clone(&bed.instances[0].client);
    let (slugs, visitors) = (scale.pick(100, 10), scale.pick(1000, 200));
    let before = selects(&bed).await;
    let mut wrong = 0;
    for number in 0..slugs {
        let start = Arc::new(Barrier::new(visitors));
        let mut under_way = JoinSet::new();
        for _ in 0..visitors {
            let (client, start) = (Arc::clone(&client), Arc::clone(&start));
            under_way.spawn(async move {
                start.wait().await;
                client.get(&format!("/{}", slug(Kind::Cold, number))).await
            });
        }
        while let Some(answer) = under_way.join_next().await {
            wrong += usize::from(!answer.unwrap().is_ok_and(|answer| answer.status == 302));
        }
    }
    let asked = usize::try_from(selects(&bed).await - before).unwrap();

    // One link that everybody wants, for longer than any cache trusts it.
    let _ = client.get("/hot-0").await;
    let (reads, asked_before) = (calls(&ground, "getrange").await, selects(&bed).await);
    let rate = scale.pick(2000.0, 200.0);
    let hot = Arc::clone(&client);
    let load = Load::of(rate, move |_, intended, ledger| {
        let client = Arc::clone(&hot);
        async move { visit(&client, Kind::Hot, 0, intended, &ledger).await }
    });
    let length = scale.seconds(20, 6);
    pause(length).await;
    let ledger = load.stop().await;
    let refreshed = calls(&ground, "getrange").await - reads;
    let selected = selects(&bed).await - asked_before;
    let hot = ledger.select(|_| true);
    // Entries live 4.5 to 5 seconds, and are looked up again when a second of that is left.
    let most = length.as_secs() / 3 + 1;
    let slugs = usize::try_from(slugs).unwrap();
    vec![
        Check::that(
            &format!("{slugs} cold links, {visitors} visitors of each at once: statements"),
            &slugs.to_string(),
            &asked.to_string(),
            asked == slugs,
        ),
        Check::exactly("visitors who did not get their redirect", 0, wrong),
        Check::that(
            &format!(
                "a link at {rate:.0} a second for {} s: look-ups in Redis",
                length.as_secs()
            ),
            &format!("<= {most}"),
            &refreshed.to_string(),
            refreshed <= most,
        ),
        Check::that(
            "the same: statements",
            "<= 1",
            &selected.to_string(),
            selected <= 1,
        ),
        super::all_302("the same: answers", &hot),
        Check::at_most("the same: p99", millis(5), hot.p99()),
    ]
}

/// A request that says whose it is.
fn get_as(path: &str, address: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: short.example\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\nX-Forwarded-For: {address}\r\n\r\n"
    )
}

pub async fn scan(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground
        .bed_with(1, &[("TRUSTED_PROXY_HOPS", "1"), ("MISS_RATE_PER_MINUTE", "120")])
        .await;
    bed.sql("CREATE EXTENSION pg_stat_statements").await;
    bed.warm_up().await;
    let client = Arc::clone(&bed.instances[0].client);
    let visitors = Arc::clone(&client);
    let load = Load::of(200.0, move |_, intended, ledger| {
        let client = Arc::clone(&visitors);
        async move { visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await }
    });
    pause(scale.seconds(5, 2)).await;
    let before = (selects(&bed).await, bed.instances[0].resident_kib());

    let hit = Instant::now();
    let scanner = Arc::clone(&client);
    let rate = scale.pick(3000.0, 500.0);
    let scan = Load::of(rate, move |turn, intended, ledger| {
        let client = Arc::clone(&scanner);
        async move {
            let answer = client
                .send(&get_as(&format!("/guess-{turn}"), "203.0.113.9"))
                .await;
            ledger.add(Entry {
                kind: Kind::Unknown,
                intended,
                ended: Instant::now(),
                outcome: outcome(&answer),
                right: true,
                number: u64::from(turn),
            });
        }
    });
    let length = scale.seconds(20, 5);
    pause(length).await;
    let scanned = scan.stop().await.select(|_| true);
    let over = Instant::now();
    let asked = selects(&bed).await - before.0;
    let grown = (bed.instances[0].resident_kib() - before.1) / 1024;
    // Somebody else asks for a link that nobody knows yet, and for one that there is not.
    let other = client
        .send(&get_as("/cold-7", "198.51.100.7"))
        .await
        .map(|answer| answer.status);
    let none = client
        .send(&get_as("/nothing", "198.51.100.7"))
        .await
        .map(|answer| answer.status);
    let ledger = load.stop().await;

    let base = ledger.within(&[Kind::Hot], ledger.began, hit).p99();
    let during = ledger.within(&[Kind::Hot], hit, over);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let a_second = asked as f64 / length.as_secs_f64();
    let refused = scanned.count(|entry| entry.is(429));
    vec![
        Check::that(
            "guesses answered 429",
            "> 0",
            &format!("{refused} of {}", scanned.len()),
            refused > 0,
        ),
        Check::exactly("answers of 5xx, or none", 0, scanned.count(Entry::is_error)),
        Check::that(
            "statements a second",
            "<= 100",
            &format!("{a_second:.0}"),
            a_second <= 100.0,
        ),
        super::all_302("visitors of links meanwhile", &during),
        Check::that(
            "another address meanwhile",
            "302 and 404",
            &format!("{other:?} and {none:?}"),
            other == Ok(302) && none == Ok(404),
        ),
        Check::at_most("their p99", base.max(Duration::from_millis(5)) * 2, during.p99()),
        Check::speed("memory grown", "<= 32 MiB", &format!("{grown} MiB"), grown <= 32),
    ]
}
