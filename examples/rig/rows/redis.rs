//! Redis fails. It is a cache: nobody may notice more than a little time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;

use super::super::bed::{Bed, Ground};
use super::super::client::Client;
use super::super::ledger::Kind;
use super::super::load::{Load, Traffic, slug, target};
use super::super::proxy::Faults;
use super::super::report::Check;
use super::{ALL, LINKS, allowed, baseline, comes_within, millis, no_errors, none_wrong, pause, warm_bed};

/// Links that are in Redis and nowhere else: another instance made them, and their rows were taken away.
async fn only_in_redis(bed: &Bed, count: u64) {
    let other = bed.start_instance().await;
    for number in 0..count {
        let slug = format!("shared-{number}");
        let body = format!("{{\"url\":\"{}\",\"slug\":\"{slug}\"}}", target(&slug));
        let answer = other.client.api("POST", "/links", &body, "").await;
        assert_eq!(answer.map(|answer| answer.status), Ok(201));
    }
    bed.sql("DELETE FROM links WHERE slug LIKE 'shared-%'").await;
}

/// How long after `since` Redis answered for the first time again: a link that only Redis has was found.
async fn used_again(client: &Client, since: Instant, next: &mut u64) -> Option<Duration> {
    while since.elapsed() < Duration::from_secs(10) {
        let answer = client.get(&format!("/shared-{next}")).await;
        *next += 1;
        if answer.is_ok_and(|answer| answer.status == 302) {
            return Some(since.elapsed());
        }
        pause(millis(25)).await;
    }
    None
}

pub async fn frozen(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    only_in_redis(&bed, 400).await;
    let (load, hit) = baseline(&bed, scale).await;

    ground.redis.freeze();
    pause(scale.seconds(10, 3)).await;
    ground.redis.thaw();
    let healed = Instant::now();
    let back = used_again(&bed.instances[0].client, healed, &mut 0).await;
    pause(scale.seconds(5, 1)).await;
    let ledger = load.stop().await;

    let second = Duration::from_secs(1);
    vec![
        no_errors("errors", &ledger, ALL, ledger.began, Instant::now()),
        none_wrong(&ledger),
        Check::at_most(
            "p99 of redirects, first second",
            allowed(&ledger, hit, millis(50)),
            ledger.within(LINKS, hit, hit + second).p99(),
        ),
        Check::at_most(
            "p99 of redirects, after that",
            allowed(&ledger, hit, millis(5)),
            ledger.within(LINKS, hit + second, healed).p99(),
        ),
        comes_within("Redis used again after the thaw", millis(1000), back),
    ]
}

pub async fn killed(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, hit) = baseline(&bed, scale).await;

    ground.redis.kill();
    pause(scale.seconds(10, 3)).await;
    ground.redis.boot().await;
    let healed = Instant::now();
    let mut back = None;
    while back.is_none() && healed.elapsed() < Duration::from_secs(10) {
        pause(millis(10)).await;
        let mut redis = ground.redis.connect().await;
        let size: u64 = cmd("DBSIZE").query_async(&mut redis).await.unwrap();
        back = (size > 0).then(|| healed.elapsed());
    }
    pause(scale.seconds(5, 1)).await;
    let ledger = load.stop().await;

    vec![
        no_errors("errors", &ledger, ALL, ledger.began, Instant::now()),
        none_wrong(&ledger),
        Check::at_most(
            "p99 of redirects, while it is down",
            allowed(&ledger, hit, millis(10)),
            ledger.within(LINKS, hit, healed).p99(),
        ),
        comes_within("Redis used again after it answers", millis(1000), back),
    ]
}

pub async fn slow(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let (load, hit) = baseline(&bed, scale).await;
    let each = scale.seconds(8, 2);

    bed.redis.set(Faults {
        latency: millis(100),
        jitter: millis(50),
        ..Faults::default()
    });
    pause(each).await;
    let sliced = Instant::now();
    bed.redis.set(Faults {
        slice: true,
        ..Faults::default()
    });
    pause(each).await;
    let reset = Instant::now();
    bed.redis.heal();
    while reset.elapsed() < each {
        bed.redis.reset_all();
        pause(millis(20)).await;
    }
    let healed = Instant::now();
    pause(scale.seconds(3, 1)).await;
    let ledger = load.stop().await;

    let limit = allowed(&ledger, hit, millis(60));
    let p99 = |from, to| ledger.within(LINKS, from, to).p99();
    vec![
        no_errors("errors", &ledger, ALL, ledger.began, Instant::now()),
        none_wrong(&ledger),
        Check::at_most(
            "p99 of redirects, 200 +- 100 ms there and back",
            limit,
            p99(hit, sliced),
        ),
        Check::at_most("p99 of redirects, a byte at a time", limit, p99(sliced, reset)),
        Check::at_most(
            "p99 of redirects, reset 50 times a second",
            limit,
            p99(reset, healed),
        ),
    ]
}

/// Memory trusts nothing for long here, so that Redis is asked again and again.
pub async fn lies(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed_with(2, &[("MEMORY_CACHE_MIB", "0")]).await;
    bed.warm_up().await;
    let rate = scale.pick(2000.0, 300.0);
    let load = Load::start(
        &bed.clients(),
        Traffic {
            rate,
            shares: [80, 18, 0, 1, 1],
        },
    );

    bed.redis.set(Faults {
        swap: true,
        ..Faults::default()
    });
    pause(scale.seconds(40, 3)).await;
    bed.redis.heal();
    pause(scale.seconds(5, 1)).await;
    // By now the breaker is closed. What lies from here on are the values themselves.
    let lying = Instant::now();
    let mut round = 0;
    let until = scale.seconds(15, 2);
    while lying.elapsed() < until {
        spoil(&ground, round).await;
        round += 1;
        pause(millis(5)).await;
    }
    let ledger = load.stop().await;
    let replaced = is_replaced(&ground, &bed).await;

    let redirects = ledger.within(LINKS, ledger.began, Instant::now());
    let all = ledger.select(|_| true);
    vec![
        Check::that(
            "wrong redirects",
            "0",
            &format!(
                "{} of {}, with {} pairs of replies swapped and {round} values spoilt",
                redirects.count(|entry| !entry.right),
                redirects.len(),
                bed.redis.swapped()
            ),
            redirects.count(|entry| !entry.right) == 0 && bed.redis.swapped() > 0 && redirects.len() > 0,
        ),
        none_wrong(&ledger),
        Check::exactly("answers of 5xx, or none", 0, all.count(super::Entry::is_error)),
        Check::that(
            "a bad value is replaced by its first reader",
            "yes",
            if replaced { "yes" } else { "no" },
            replaced,
        ),
    ]
}

/// Puts a lie in the place of a hot link's value.
async fn spoil(ground: &Ground, round: u64) {
    let mut redis = ground.redis.connect().await;
    let key = |number: u64| format!("curtail:link:{}", slug(Kind::Hot, number));
    let (mine, other) = (key(round % 50), key((round + 7) % 50));
    let value: Vec<u8> = cmd("GET")
        .arg(&other)
        .query_async(&mut redis)
        .await
        .unwrap_or_default();
    let own: Vec<u8> = cmd("GET")
        .arg(&mine)
        .query_async(&mut redis)
        .await
        .unwrap_or_default();
    let lie = match round % 5 {
        0 => value,
        1 => own[..own.len() / 2].to_vec(),
        2 => b"not an entry at all".to_vec(),
        3 => replace(&own, b"https://example.org/", b"javascript:alert(1);"),
        _ => {
            let mut list = deadpool_redis::redis::pipe();
            list.cmd("DEL")
                .arg(&mine)
                .ignore()
                .cmd("LPUSH")
                .arg(&mine)
                .arg("x")
                .ignore();
            let _ = list.exec_async(&mut redis).await;
            return;
        }
    };
    let _ = cmd("SET").arg(&mine).arg(lie).exec_async(&mut redis).await;
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match bytes.windows(old.len()).position(|window| window == old) {
        None => bytes.to_vec(),
        Some(at) => [&bytes[..at], new, &bytes[at + old.len()..]].concat(),
    }
}

/// Whether one visit is enough to have a good value in the place of a bad one.
async fn is_replaced(ground: &Ground, bed: &Bed) -> bool {
    let slug = slug(Kind::Hot, 3);
    let mut redis = ground.redis.connect().await;
    let key = format!("curtail:link:{slug}");
    let _ = cmd("SET").arg(&key).arg("nonsense").exec_async(&mut redis).await;
    let answer = bed.instances[0].client.get(&format!("/{slug}")).await;
    pause(millis(100)).await;
    let value = bed.cached(&slug).await;
    let wanted = target(&slug);
    answer.is_ok_and(|answer| answer.header("location") == Some(wanted.as_str()))
        && value
            .windows(wanted.len())
            .any(|window| window == wanted.as_bytes())
}
