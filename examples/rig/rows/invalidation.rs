//! A change is in the database, so every instance answers by it within seconds, whatever Redis holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use rustix::process::Signal;

use super::super::bed::{Bed, Ground, cache_key};
use super::super::client::Client;
use super::super::instance::Instance;
use super::super::ledger::{Entry, Ledger};
use super::super::proxy::Proxy;
use super::super::report::Check;
use super::super::servers::Redis;
use super::super::watch::{BOUND, Watch, is_new, look};
use super::{millis, pause};

/// How a link is made to redirect no more.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Patch,
    Delete,
    Bulk,
}

pub const WAYS: [Way; 3] = [Way::Patch, Way::Delete, Way::Bulk];

impl Way {
    /// The method, path and body of the request.
    pub fn request(self, slug: &str) -> (&'static str, String, String) {
        let path = format!("/links/{slug}");
        match self {
            Self::Patch => ("PATCH", path, "{\"disabled\":true}".to_owned()),
            Self::Delete => ("DELETE", path, String::new()),
            Self::Bulk => (
                "POST",
                "/links/disable".to_owned(),
                format!("{{\"slugs\":[\"{slug}\"]}}"),
            ),
        }
    }

    /// Changes a link. Answers when that was acknowledged.
    async fn change(self, client: &Client, slug: &str) -> Instant {
        let (method, path, body) = self.request(slug);
        let answer = client.api(method, &path, &body, "").await;
        let status = answer.map(|answer| answer.status);
        assert!(
            status.is_ok_and(|status| status < 300),
            "{method} {path}: {status:?}"
        );
        Instant::now()
    }
}

/// Makes these links through an instance.
pub async fn plant(client: &Client, slugs: &[String]) {
    for slug in slugs {
        let body = format!("{{\"url\":\"https://example.org/{slug}\",\"slug\":\"{slug}\"}}");
        let answer = client.api("POST", "/links", &body, "").await;
        assert_eq!(answer.map(|answer| answer.status), Ok(201));
    }
}

/// Has these links in the memory of each instance, and in Redis.
pub async fn learn(clients: &[Arc<Client>], slugs: &[String]) {
    for client in clients {
        for slug in slugs {
            let answer = client.get(&format!("/{slug}")).await;
            assert_eq!(answer.map(|answer| answer.status), Ok(302));
        }
    }
}

/// The values that Redis has for these links.
async fn values(redis: &Redis, slugs: &[String]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for slug in slugs {
        values.push(redis.value(&cache_key(slug)).await);
    }
    values
}

/// In how many of these Redis holds what it held before. Without any, a row shows nothing.
fn old_entries(before: &[Vec<u8>], after: &[Vec<u8>]) -> Check {
    let old = before
        .iter()
        .zip(after)
        .filter(|(before, after)| !before.is_empty() && before == after)
        .count();
    Check::that(
        "links of which Redis holds the old state at first",
        "> 0",
        &format!("{old} of {}", before.len()),
        old > 0,
    )
}

/// Names for a link of each way.
fn slugs(prefix: &str) -> Vec<String> {
    WAYS.iter()
        .map(|way| format!("{prefix}-{way:?}").to_lowercase())
        .collect()
}

/// Instances that reach the database, but not Redis, disable links and are then stopped or killed. Others have Redis,
/// which holds the links as they were.
pub async fn writer_cut_off(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(2).await;
    let all: Vec<String> = [slugs("stopped"), slugs("killed")].concat();
    plant(&bed.instances[0].client, &all).await;
    let mut writers = Vec::new();
    for _ in 0..2 {
        let redis = Proxy::before(ground.redis.address()).await;
        let writer = bed.start_instance_behind(&bed.postgres, &redis).await;
        learn(&[Arc::clone(&writer.client)], &all).await;
        writers.push((writer, redis));
    }
    // The second reads Redis for the first time when the links are disabled already.
    learn(&bed.clients()[..1], &all).await;
    let before = values(&ground.redis, &all).await;
    let mut watch = Watch::of(&all);
    watch.add("an instance that had them in memory", &bed.instances[0].client);

    let mut changed = Vec::new();
    for ((writer, redis), slugs) in writers.iter().zip(all.chunks(WAYS.len())) {
        redis.cut();
        for (way, slug) in WAYS.iter().zip(slugs) {
            changed.push(Some(way.change(&writer.client, slug).await));
        }
    }
    writers[0].0.signal(Signal::TERM);
    writers[1].0.signal(Signal::KILL);
    let after = values(&ground.redis, &all).await;
    watch.add("an instance that had not", &bed.instances[1].client);
    let later = bed.start_instance().await;
    watch.add("an instance that started after it", &later.client);
    let code = writers[0].0.ended(Duration::from_secs(12)).await;
    pause(BOUND + scale.seconds(8, 1)).await;
    let last = bed.start_instance().await;
    watch.add("an instance that started at the end", &last.client);
    pause(millis(500)).await;
    let sights = watch.stop().await;

    let mut checks = vec![old_entries(&before, &after)];
    checks.extend(sights.of_changes(&changed));
    checks.push(Check::that(
        "the stopped writer's exit code",
        "0",
        &format!("{code:?}"),
        code == Some(0),
    ));
    checks
}

/// The only Redis is lost, and its replica takes its place without the last writes.
pub async fn replica_promoted(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(2).await;
    let all = slugs("promoted");
    plant(&bed.instances[0].client, &all).await;
    learn(&bed.clients(), &all).await;
    let before = values(&ground.redis, &all).await;
    let copying = Proxy::before(ground.redis.address()).await;
    let replica = Redis::start_replica(copying.address()).await;
    let asked = Instant::now();
    while values(&replica, &all).await != before {
        assert!(
            asked.elapsed() < Duration::from_secs(20),
            "the replica copies nothing"
        );
        pause(millis(10)).await;
    }
    copying.set(super::super::proxy::Faults {
        blackhole: true,
        ..Default::default()
    });
    let mut watch = Watch::of(&all);
    watch.add("the writer", &bed.instances[0].client);
    watch.add("another instance", &bed.instances[1].client);

    let mut changed = Vec::new();
    for (way, slug) in WAYS.iter().zip(&all) {
        changed.push(Some(way.change(&bed.instances[0].client, slug).await));
    }
    ground.redis.kill();
    replica.promote().await;
    let after = values(&replica, &all).await;
    bed.redis.lead_to(replica.address());
    bed.redis.reset_all();
    let later = bed.start_instance().await;
    watch.add("an instance that started after it", &later.client);
    pause(BOUND + scale.seconds(10, 2)).await;
    let sights = watch.stop().await;

    let mut checks = vec![old_entries(&before, &after)];
    checks.extend(sights.of_changes(&changed));
    checks
}

/// The first answers of an instance that wakes.
async fn first_answers(client: &Client, slugs: &[String]) -> Ledger {
    let ledger = Ledger::default();
    let woke = Instant::now();
    let looks = slugs
        .iter()
        .enumerate()
        .map(|(number, slug)| look(client, slug, number, woke, &ledger));
    futures_util::future::join_all(looks).await;
    ledger
}

/// For how long an instance is frozen at least: longer than it trusts its caches without a look at the changes.
const FROZEN: Duration = Duration::from_millis(6500);

/// Freezes an instance, does `meanwhile`, and wakes it. Answers what it says
/// first.
async fn woken(instance: &Instance, slugs: &[String], meanwhile: impl Future<Output = ()>) -> Ledger {
    instance.signal(Signal::STOP);
    let frozen = Instant::now();
    meanwhile.await;
    pause(FROZEN.saturating_sub(frozen.elapsed())).await;
    instance.signal(Signal::CONT);
    first_answers(&instance.client, slugs).await
}

/// An instance is frozen while links are disabled elsewhere. It does not hear of it, and Redis holds what it did.
pub async fn frozen(ground: Arc<Ground>) -> Vec<Check> {
    let bed = ground.bed(0).await;
    let writers_redis = Proxy::before(ground.redis.address()).await;
    let writer = bed.start_instance_behind(&bed.postgres, &writers_redis).await;
    let frozen = bed.start_instance().await;
    let parts = ["wakes", "dark", "alone"].map(slugs);
    let clients = [Arc::clone(&writer.client), Arc::clone(&frozen.client)];
    for slugs in &parts {
        plant(&writer.client, slugs).await;
        learn(&clients, slugs).await;
    }
    let change_all = async |slugs: &[String]| {
        for (way, slug) in WAYS.iter().zip(slugs) {
            way.change(&writer.client, slug).await;
        }
    };

    // The writer reaches no Redis, so that the old entries stay there.
    writers_redis.cut();
    let before = values(&ground.redis, &parts[0]).await;
    let mut after = Vec::new();
    let wakes = woken(&frozen, &parts[0], async {
        change_all(&parts[0]).await;
        pause(FROZEN).await;
        after = values(&ground.redis, &parts[0]).await;
    })
    .await;
    writers_redis.heal();

    let mut checks = vec![
        old_entries(&before, &after),
        first("first answers of the new state, Redis being old", &wakes, is_new),
        Check::bound(
            "the longest of them",
            millis(1500),
            wakes.select(|_| true).longest(),
        ),
    ];
    if !ground.scale.is_full() {
        return checks;
    }

    // The database is away from the one that wakes. Redis has the new state, which was published on a connection that is
    // lost. The writer first has time to reach Redis again.
    pause(Duration::from_secs(2)).await;
    learn(&clients[1..], &parts[1]).await;
    let dark = woken(&frozen, &parts[1], async {
        let mut redis = ground.redis.connect().await;
        let mut kill = cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", "pubsub"]);
        kill.exec_async(&mut redis).await.unwrap();
        redis_is_written(&bed, &writer.client, &parts[1]).await;
        bed.postgres.cut();
    })
    .await;
    bed.postgres.heal();
    pause(Duration::from_secs(1)).await;

    // It reaches nothing.
    learn(&clients[1..], &parts[2]).await;
    let alone = woken(&frozen, &parts[2], async {
        bed.redis.cut();
        change_all(&parts[2]).await;
        bed.postgres.cut();
    })
    .await;
    bed.redis.heal();
    bed.postgres.heal();
    pause(BOUND).await;
    let settled = first_answers(&frozen.client, &parts[2]).await;

    checks.extend([
        first(
            "first answers of the new state, the database being away",
            &dark,
            is_new,
        ),
        first("first answers of 302, both being away", &alone, |entry| {
            entry.is(302)
        }),
        first(
            "answers of the new state, 5 s after both are back",
            &settled,
            is_new,
        ),
    ]);
    checks
}

/// All answers of a ledger are of a kind.
fn first(what: &str, ledger: &Ledger, is_right: impl Fn(&Entry) -> bool) -> Check {
    let answers = ledger.select(|_| true);
    let right = answers.count(is_right);
    Check::that(
        what,
        &answers.len().to_string(),
        &format!("{right} ({})", answers.outcomes()),
        right == answers.len(),
    )
}

/// Changes links, and waits until Redis has the new state.
async fn redis_is_written(bed: &Bed, writer: &Client, slugs: &[String]) {
    let before = values(&bed.ground.redis, slugs).await;
    for (way, slug) in WAYS.iter().zip(slugs) {
        way.change(writer, slug).await;
    }
    let changed = Instant::now();
    loop {
        let after = values(&bed.ground.redis, slugs).await;
        let is_new = |(before, after): (&Vec<u8>, &Vec<u8>)| !after.is_empty() && before != after;
        if before.iter().zip(&after).all(is_new) {
            return;
        }
        assert!(
            changed.elapsed() < Duration::from_secs(5),
            "Redis does not get the new state"
        );
        pause(millis(20)).await;
    }
}

/// The database is set back to an earlier time while caches hold what was there later; then links are disabled.
pub async fn restored(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let mut bed = ground.bed(1).await;
    let all = slugs("restored");
    plant(&bed.instances[0].client, &all).await;
    bed.sql(
        "CREATE TABLE rig_backup AS SELECT id, revision, target FROM links WHERE slug LIKE 'restored-%';
         UPDATE links SET revision = next_revision(revision), target = target || '?later' WHERE slug LIKE 'restored-%'",
    )
    .await;
    // Instances whose memory and Redis have nothing yet learn what is lost afterwards.
    let mut redis = ground.redis.connect().await;
    cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    bed.instances = vec![bed.start_instance().await, bed.start_instance().await];
    learn(&bed.clients(), &all).await;
    pause(millis(100)).await;
    let before = values(&ground.redis, &all).await;
    bed.sql(
        "UPDATE links SET revision = rig_backup.revision, target = rig_backup.target FROM rig_backup
         WHERE links.id = rig_backup.id",
    )
    .await;
    let mut watch = Watch::of(&all);
    watch.add("the writer", &bed.instances[0].client);
    watch.add("another instance", &bed.instances[1].client);

    let mut changed = Vec::new();
    for (way, slug) in WAYS.iter().zip(&all) {
        changed.push(Some(way.change(&bed.instances[0].client, slug).await));
    }
    let later = bed.start_instance().await;
    watch.add("an instance that started after it", &later.client);
    pause(BOUND + scale.seconds(10, 2)).await;
    let sights = watch.stop().await;

    let held = before.iter().filter(|value| !value.is_empty()).count();
    let mut checks = vec![Check::that(
        "links of which Redis holds a state that is lost",
        "> 0",
        &format!("{held} of {}", all.len()),
        held > 0,
    )];
    checks.extend(sights.of_changes(&changed));
    checks
}
