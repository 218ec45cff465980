//! What the README promises.

use std::sync::Arc;
use std::time::Instant;

use super::super::bed::Ground;
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
