//! What the README promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::bed::Ground;
use super::super::instance::{Instance, command};
use super::super::ledger::Kind;
use super::super::load::{HOT, WARM, slug};
use super::super::report::Check;
use super::{ALL, CREATES, USED, all_302, baseline, comes_within, first_success, millis, none_wrong, pause};
use super::{settle_creates, warm_bed};

/// Both servers are killed, and come back: Redis empty, Postgres with what it acknowledged. Two instances, so that a
/// link that one of them made is known to the other.
pub async fn both_down(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 2).await;
    let (load, hit) = baseline(&bed, scale).await;

    ground.postgres.kill().await;
    ground.redis.kill();
    let down = Instant::now();
    pause(scale.seconds(20, 4)).await;
    let up = Instant::now();
    ground.redis.boot().await;
    ground.postgres.boot().await;
    let accepts = ground.postgres.answers().await;
    pause(scale.seconds(8, 3)).await;
    let ledger = load.stop().await;

    let dark = ledger.within(USED, down, up);
    let all = ledger.within(ALL, hit, Instant::now());
    let creates = ledger.within(CREATES, down, Instant::now());
    let refused = ledger.within(CREATES, down, up);
    let mut checks = vec![
        all_302("links used within the last hour, while both are down", &dark),
        all_302(
            "the same over the whole run",
            &ledger.within(USED, ledger.began, Instant::now()),
        ),
        none_wrong(&ledger),
        Check::exactly(
            "creates acknowledged while both are down",
            0,
            refused.count(|entry| entry.is(201)),
        ),
        Check::exactly(
            "answers of 500, or none",
            0,
            all.count(|entry| entry.outcome.is_err() || entry.is(500)),
        ),
        Check::at_most("the longest request", millis(1200), all.longest()),
        Check::at_most("p99 of links used, while both are down", millis(60), dark.p99()),
        comes_within(
            "first create after Postgres answers again",
            millis(2000),
            first_success(&creates, 201, accepts),
        ),
    ];
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}

/// Postgres is down and Redis has the links, as after a quiet hour without an instance. One starts, and the database comes
/// back later.
pub async fn started_without_postgres(ground: Arc<Ground>) -> Vec<Check> {
    let mut bed = warm_bed(&ground, 1).await;
    let links: Vec<String> = [(Kind::Hot, HOT), (Kind::Warm, WARM)]
        .into_iter()
        .flat_map(|(kind, count)| (0..count).map(move |number| slug(kind, number)))
        .collect();
    for slug in &links {
        // Redis is written to after the visitor has the answer.
        while bed.cached(slug).await.is_empty() {
            pause(millis(5)).await;
        }
    }
    bed.instances.clear();
    ground.postgres.kill().await;

    let settings = bed.settings(&bed.postgres, &bed.redis);
    let instance = Instance::start(command(&ground.program, &settings)).await;
    instance.started().await;
    let started = instance.began.elapsed();
    let client = Arc::clone(&instance.client);
    let (mut right, mut longest) = (0, Duration::ZERO);
    for slug in &links {
        let began = Instant::now();
        let answer = client.get(&format!("/{slug}")).await;
        longest = longest.max(began.elapsed());
        let target = format!("https://example.org/{slug}");
        right += usize::from(
            answer.is_ok_and(|answer| answer.status == 302 && answer.header("location") == Some(&target)),
        );
    }
    let status = async |path: &str| client.get(path).await.map_or(0, |answer| answer.status);
    let body = "{\"url\":\"https://example.org/\"}";
    let create = async || {
        let answer = client.api("POST", "/links", body, "").await;
        answer.map_or(0, |answer| answer.status)
    };
    let refused = create().await;
    let (ready, strictly) = (
        status("/health/ready").await,
        status("/health/ready?strict").await,
    );
    ground.postgres.boot().await;
    let up = ground.postgres.answers().await;
    while create().await != 201 && up.elapsed() < Duration::from_secs(10) {
        pause(millis(10)).await;
    }
    let created = up.elapsed();

    vec![
        Check::at_most("/health/startup is 200 after the start", millis(1000), started),
        Check::that(
            "links that Redis has",
            "all 302",
            &format!("{right} of {}", links.len()),
            right == links.len(),
        ),
        Check::at_most("the longest redirect", millis(300), longest),
        Check::exactly("status of a create", 503, refused.into()),
        Check::exactly("status of /health/ready", 200, ready.into()),
        Check::exactly("status of /health/ready?strict", 503, strictly.into()),
        Check::at_most("first create after Postgres answers again", millis(2000), created),
    ]
}
