//! Redis as a cluster: its keys are spread, its slots move, its nodes fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curtail::cache::{self, Put};
use curtail::domain::{Rank, Rate, Slug};
use curtail::telemetry::metrics::REDIS_NODES;
use deadpool_redis::redis::cmd;
use rustix::process::Signal;
use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::cache_suite;
use crate::redis_faults::LONGEST_CALL;
use crate::redis_nodes::{Cluster, eventually};
use crate::redis_server::{Opened, any_slug, get, is_healthy, keep, key, link, open, settings};

fn cluster_at(url: &str) -> Opened {
    open(&[("REDIS_URL", url), ("REDIS_CLUSTER", "true")])
}

/// A cache that has learnt who holds what, from one node.
async fn learnt(cluster: &Cluster) -> Opened {
    let opened = cluster_at(&cluster.url(&[1]));
    eventually("the nodes are known", async || {
        opened.metrics.watched(&REDIS_NODES) == [("links", 3.0)]
    })
    .await;
    eventually("they are connected", async || is_healthy(&*opened.cache).await).await;
    opened
}

/// A slug whose entry the primary `node` holds.
async fn slug_on(cluster: &Cluster, node: usize) -> Slug {
    loop {
        let slug = any_slug();
        if cluster.primary_of(&key(&slug)).await == node {
            return slug;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_a_cache_whose_keys_are_spread() {
    let cluster = Cluster::of_primaries().await;
    let opened = learnt(&cluster).await;
    let before = cluster.redirections().await;

    cache_suite::all(&opened.cache).await;
    for _ in 0..30 {
        let slug = any_slug();
        keep(&*opened.cache, &slug, &link(&slug, 1)).await;
        assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 1)));
    }

    for node in 0..3 {
        assert!(cluster.ask::<usize>(node, &cmd("DBSIZE")).await > 0);
    }
    assert_eq!(
        cluster.redirections().await,
        before,
        "each was asked for its own keys"
    );
    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_budgets_and_a_prefix_in_braces_keeps_all_on_one_node() {
    let cluster = Cluster::of_primaries().await;
    let url = cluster.url(&[0, 2]);
    let pairs = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_CLUSTER", "true"),
        ("REDIS_KEY_PREFIX", "{one}:"),
    ];
    let rate = Rate::per_minute(10).unwrap();
    let instances: Vec<_> = (0..2)
        .map(|_| {
            cache::budgets(&settings(&pairs), Arc::default())
                .unwrap()
                .unwrap()
        })
        .collect();
    let opened = open(&pairs);

    for instance in &instances {
        eventually("budgets are answered for", async || {
            instance.take("any", rate).await.is_some()
        })
        .await;
    }
    let mut granted = 0;
    for turn in 0..40 {
        for name in ["first", "second", "third"] {
            let taken = instances[turn % 2].take(name, rate).await.unwrap();
            granted += usize::from(taken.granted);
        }
    }
    for _ in 0..10 {
        let slug = any_slug();
        keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    }

    assert!((30..=33).contains(&granted), "{granted} of three budgets of ten");
    let mut sizes = Vec::new();
    for node in 0..3 {
        sizes.push(cluster.ask::<usize>(node, &cmd("DBSIZE")).await);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 0, 14], "three budgets, another, and ten links");
}

/// Moves a slot as `redis-cli --cluster reshard` does, and looks at every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_costs_no_miss() {
    let cluster = Cluster::of_primaries().await;
    let opened = learnt(&cluster).await;
    let slug = slug_on(&cluster, 0).await;
    // A slug that the new node has no script for yet, and no entry.
    let slot = cluster.slot_of(&key(&slug)).await;
    let from: String = cluster.ask(0, cmd("CLUSTER").arg("MYID")).await;
    let to: String = cluster.ask(2, cmd("CLUSTER").arg("MYID")).await;
    let is_there = async |revision: i64| {
        assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, revision)));
        assert_eq!(
            opened
                .cache
                .put(&slug, &link(&slug, revision - 1), Rank::UNSEEN)
                .await,
            Put::Outranked(link(&slug, revision))
        );
        keep(&*opened.cache, &slug, &link(&slug, revision + 1)).await;
        assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, revision + 1)));
    };
    let set_slot = |node: usize, how: &'static str, id: &str| {
        let mut command = cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(how).arg(id);
        let cluster = &cluster;
        async move { cluster.run(node, &command).await }
    };
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    cluster.run(2, cmd("SCRIPT").arg("FLUSH")).await;

    // The slot is on its way and its key has not gone yet.
    set_slot(2, "IMPORTING", &from).await;
    set_slot(0, "MIGRATING", &to).await;
    is_there(1).await;
    // The key has gone: whoever asks is sent after it, for this once.
    let mut migrate = cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(cluster.nodes[2].port());
    cluster.run(0, migrate.arg(key(&slug)).arg(0).arg(5000)).await;
    is_there(2).await;
    assert_eq!(cluster.ask::<usize>(0, &cmd("DBSIZE")).await, 0);
    // The slot has gone: whoever asks is sent after it, and remembers.
    for node in [2, 0, 1] {
        set_slot(node, "NODE", &to).await;
    }
    is_there(3).await;
    eventually("nobody is sent on any more", async || {
        let before = cluster.redirections().await;
        get(&*opened.cache, &slug).await == Some(link(&slug, 4)) && cluster.redirections().await == before
    })
    .await;

    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
    assert_eq!(opened.metrics.shared_cache.refused.get(), 0);
}

/// A frozen node holds up nobody who asks for what the others have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_takes_only_its_own_keys_with_it() {
    let cluster = Cluster::of_primaries().await;
    let opened = learnt(&cluster).await;
    let mut slugs = Vec::new();
    for node in 0..3 {
        let slug = slug_on(&cluster, node).await;
        keep(&*opened.cache, &slug, &link(&slug, 1)).await;
        slugs.push(slug);
    }

    cluster.nodes[0].signal(Signal::STOP);

    let (mut hits, mut longest, start) = (0, Duration::ZERO, Instant::now());
    while opened.metrics.shared_cache.refused.get() < 50 {
        let (entry, took) = opened.timed_get(&slugs[0]).await;
        assert_eq!(entry, None);
        assert!(took < LONGEST_CALL, "{took:?}");
        for slug in &slugs[1..] {
            let (entry, took) = opened.timed_get(slug).await;
            hits += 1;
            assert_eq!(entry, Some(link(slug, 1)), "after {hits} hits");
            longest = longest.max(took);
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the breaker does not open"
        );
    }
    assert!(longest < LONGEST_CALL, "{longest:?}");
    assert_eq!(opened.metrics.shared_cache.opened.get(), 1);
    assert!(!is_healthy(&*opened.cache).await);

    cluster.nodes[0].signal(Signal::CONT);

    let took = opened.recovers(&slugs[0]).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually("it is healthy again", async || is_healthy(&*opened.cache).await).await;
}

/// What the cluster lost at a failover is refused and removed: an old entry would bring back what was deleted.
#[test]
fn an_entry_that_a_failover_brought_back_is_refused() {
    let runtime = runtime();
    let cluster = runtime.block_on(Cluster::of_primaries());
    let url = cluster.url(&[0]);
    let app = TestApp::start_with(
        Backend::Postgres,
        &[
            ("REDIS_URL", &url),
            ("REDIS_CLUSTER", "true"),
            ("MEMORY_CACHE_MIB", "0"),
        ],
    );
    app.create(json!({"url": "https://example.org/1", "slug": "undone"}));
    let key = format!("{}link:undone", app.database.redis_prefix());
    let node = runtime.block_on(cluster.primary_of(&key));
    let stored = || -> Vec<u8> { runtime.block_on(cluster.ask(node, cmd("GET").arg(&key))) };
    runtime.block_on(eventually("the link is in Redis", async || {
        located(&app, "undone", 1);
        !cluster
            .ask::<Vec<u8>>(node, cmd("GET").arg(&key))
            .await
            .is_empty()
    }));
    let before = stored();

    assert_eq!(app.api("DELETE", "/links/undone", None).status, 204);
    let deletion = stored();
    runtime.block_on(cluster.run(node, cmd("SET").arg(&key).arg(&before)));

    assert_ne!(deletion, before);
    assert_eq!(app.get("/undone").status, 404);
    assert_ne!(stored(), before);
}

#[test]
fn a_change_is_heard_whichever_node_it_was_told_and_after_the_death_of_the_one_that_was_listened_to() {
    let runtime = runtime();
    let mut cluster = runtime.block_on(Cluster::of_primaries());
    let url = cluster.url(&[0, 1, 2]);
    let settings = [("REDIS_URL", url.as_str()), ("REDIS_CLUSTER", "true")];
    let app = TestApp::start_with(
        Backend::Postgres,
        &[&settings[..], &[("MEMORY_CACHE_MIB", "0")]].concat(),
    );
    // It trusts its memory for an hour: only what it hears can change its mind.
    let other = app.twin(
        Backend::Postgres,
        &[&settings[..], &[("MEMORY_CACHE_SECONDS", "3600")]].concat(),
    );
    app.create(json!({"url": "https://example.org/0", "slug": "told"}));
    located(&other, "told", 0);
    let channel = format!("{}changes", app.database.redis_prefix());
    let mut number = 0;
    let mut change_is_heard = || {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            number += 1;
            let location = format!("https://example.org/{number}");
            let changed = app.api("PATCH", "/links/told", Some(&json!({"url": location})));
            assert_eq!(changed.status, 200);
            let next = Instant::now() + Duration::from_millis(300);
            while Instant::now() < next {
                if other.get("/told").header("location") == Some(&location) {
                    return;
                }
                // Each visit is a connection, and a system has only so many.
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < deadline, "the change is not heard of");
        }
    };

    change_is_heard();
    let first = runtime.block_on(cluster.listener(&channel)).unwrap();
    cluster.nodes[first].kill();
    change_is_heard();

    let second = runtime.block_on(cluster.listener(&channel)).unwrap();
    assert_ne!(first, second);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A visit that must find its link, and how long it took.
fn located(app: &TestApp, slug: &str, number: usize) -> Duration {
    let start = Instant::now();
    let answer = app.get(&format!("/{slug}"));
    let took = start.elapsed();
    assert_eq!(answer.status, 302, "{slug}: {}", answer.body);
    assert_eq!(
        answer.header("location"),
        Some(format!("https://example.org/{number}").as_str())
    );
    took
}

/// A primary is killed. Every redirect goes on, the store behind the cache; what was said meanwhile is known to the
/// replica that takes its place.
#[test]
fn redirects_go_on_while_a_replica_takes_the_place_of_its_primary() {
    let runtime = runtime();
    let mut cluster = runtime.block_on(Cluster::with_replicas());
    let url = cluster.url(&[0, 1, 2]);
    // Without a memory, every visitor is one for Redis.
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_CLUSTER", "true"),
        ("MEMORY_CACHE_MIB", "0"),
    ];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    let prefix = app.database.redis_prefix().to_owned();
    let place = |slug: &str| runtime.block_on(cluster.primary_of(&format!("{prefix}link:{slug}")));
    let slug = || any_slug().to_string();
    // The first is on the node that is killed, wherever the others are.
    let first = std::iter::repeat_with(slug)
        .find(|slug| place(slug) == 0)
        .unwrap();
    let slugs: Vec<String> = std::iter::once(first)
        .chain(std::iter::repeat_with(slug))
        .take(12)
        .collect();
    for (number, slug) in slugs.iter().enumerate() {
        app.create(json!({"url": format!("https://example.org/{number}"), "slug": slug}));
    }
    let hit = |number: usize| {
        let before = app.metrics.resolve.shared.get();
        (
            located(&app, &slugs[number], number),
            app.metrics.resolve.shared.get() > before,
        )
    };
    let start = Instant::now();
    while !(0..slugs.len()).all(|number| hit(number).1) {
        assert!(start.elapsed() < Duration::from_secs(10), "Redis is not used");
    }

    cluster.nodes[0].kill();

    let start = Instant::now();
    let (mut longest, mut visits, mut missed) = (Duration::ZERO, 0, 0);
    let gone = app.create(json!({"url": "https://example.org/gone", "slug": format!("gone-{}", slugs[0])}));
    let gone = format!("/{}", gone["slug"].as_str().unwrap());
    assert_eq!(app.api("DELETE", &format!("/links{gone}"), None).status, 204);
    loop {
        let mut all = true;
        for number in 0..slugs.len() {
            let (took, from_redis) = hit(number);
            longest = longest.max(took);
            visits += 1;
            missed += usize::from(!from_redis);
            all &= from_redis;
        }
        // Once missed and then found: it was the replica that answered.
        if all && missed > 0 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the cluster is not used again"
        );
    }
    println!(
        "a primary killed: Redis used for all keys after {:?}, {missed} of {visits} visits without it, the longest {longest:?}",
        start.elapsed()
    );
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert_eq!(app.get(&gone).status, 404);
    assert!(runtime.block_on(cluster.is_primary(3)));
}
