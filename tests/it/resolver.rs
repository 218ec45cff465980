//! What the caches do for a redirect, seen from outside by what is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curtail::cache::{Cache, Entry, MemoryCache};
use curtail::domain::{Actor, Clock, ManualClock, Slug};
use curtail::lifecycle::Lifecycle;
use curtail::service::{Resolver, Visit};
use curtail::store;
use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::db::TestDatabase;
use crate::{on_both_stores, redis_server};

on_both_stores! {
    fn a_link_is_asked_of_the_store_once_and_then_of_memory(backend) {
        let app = TestApp::start(backend);
        let reader = app.twin(backend, &[]);
        app.create(json!({"url": "https://example.org/", "slug": "warm"}));

        for _ in 0..5 {
            assert_eq!(reader.get("/warm").status, 302);
        }

        let resolve = &reader.metrics.resolve;
        assert_eq!(resolve.memory.get(), 4);
        assert_eq!(resolve.store.get() + resolve.shared.get(), 1);
        // The create was written through: the other instance finds it in Redis, if there is one.
        assert_eq!(resolve.shared.get(), u64::from(backend == Backend::Postgres));
    }

    fn an_unknown_slug_is_asked_of_the_store_once(backend) {
        let app = TestApp::start(backend);

        for _ in 0..5 {
            assert_eq!(app.get("/nothing").status, 404);
        }

        assert_eq!((app.metrics.resolve.absent.get(), app.metrics.resolve.memory.get()), (1, 4));
    }

    fn a_hundred_visitors_of_one_cold_link_ask_the_store_once(backend) {
        let app = TestApp::start(backend);
        let cold = app.twin(backend, &[("REDIS_URL", "")]);
        app.create(json!({"url": "https://example.org/", "slug": "stampede"}));

        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| assert_eq!(cold.get("/stampede").status, 302));
            }
        });

        assert_eq!(cold.metrics.resolve.store.get(), 1);
    }

    /// Each visit waited 250 ms for a read of the changes that nothing made.
    fn without_any_cache_no_visit_waits_for_changes(backend) {
        let settings = [("MEMORY_CACHE_MIB", "0"), ("REDIS_URL", "")];
        let app = TestApp::start_with(backend, &settings);
        app.create(json!({"url": "https://example.org/", "slug": "bare"}));
        app.clock.advance(Duration::from_secs(60));

        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(app.get("/bare").status, 302);
        }

        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    fn without_a_memory_cache_every_visit_asks_below(backend) {
        let app = TestApp::start_with(backend, &[("MEMORY_CACHE_MIB", "0")]);
        app.create(json!({"url": "https://example.org/", "slug": "bare"}));

        for _ in 0..3 {
            assert_eq!(app.get("/bare").status, 302);
        }

        assert_eq!(app.metrics.resolve.memory.get(), 0);
        assert_eq!(app.metrics.resolve.store.get() + app.metrics.resolve.shared.get(), 3);
    }
}

/// A value in the shared cache is never taken for more than it is.
#[test]
fn a_lying_shared_cache_cannot_send_a_visitor_elsewhere() {
    let app = TestApp::start(Backend::Postgres);
    let reader = app.twin(Backend::Postgres, &[("MEMORY_CACHE_MIB", "0")]);
    app.create(json!({"url": "https://example.org/right", "slug": "right"}));
    app.create(json!({"url": "https://example.org/wrong", "slug": "wrong"}));
    let mut redis = app.database.redis();
    let key = |slug: &str| format!("{}link:{slug}", app.database.redis_prefix());
    let other: Vec<u8> = redis.get(&key("wrong"));
    assert!(!other.is_empty());

    for lie in [
        other,
        b"garbage".to_vec(),
        Vec::new(),
        b"javascript:alert(1)".to_vec(),
    ] {
        redis.set(&key("right"), &lie);

        assert_eq!(
            reader.get("/right").header("location"),
            Some("https://example.org/right")
        );
    }
    redis.make_list(&key("right"));
    assert_eq!(
        reader.get("/right").header("location"),
        Some("https://example.org/right")
    );
    // Not each of them: what the visit before put back may land upon a lie before it is read.
    assert!(reader.metrics.shared_cache.rejected.get() >= 1);
}

/// The rest of a link's life is served from what was last known, for as long as STALE_SECONDS says.
#[test]
fn links_in_use_keep_redirecting_while_the_store_is_down() {
    let proxy = crate::ground::Switch::before_postgres();
    let database = Arc::new(crate::ground::Ground::through(&proxy));
    let app = TestApp::start_on(
        Backend::Postgres,
        database,
        &[("STALE_SECONDS", "60"), ("REDIS_URL", "")],
    );
    app.create(json!({"url": "https://example.org/", "slug": "hot"}));
    assert_eq!(app.get("/hot").status, 302);

    proxy.cut();
    app.clock.advance(Duration::from_secs(30));

    assert_eq!(app.get("/hot").status, 302);
    assert!(app.metrics.resolve.stale.get() > 0);
    app.get("/cold").assert_problem(503, "unavailable");
    assert_eq!(app.api("DELETE", "/links/hot", None).status, 503);
    // Five minutes that memory trusts it, and a minute past that.
    app.clock.advance(Duration::from_secs(360));
    app.get("/hot").assert_problem(503, "unavailable");

    // Connecting is tried again after a pause.
    proxy.heal();
    let deadline = Instant::now() + Duration::from_secs(20);
    while app.get("/hot").status != 302 {
        assert!(Instant::now() < deadline, "the store is not asked again");
        std::thread::yield_now();
    }
}

/// Redis was believed whatever it said, as long as that was fresh: after a failover it had an older state than memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_entry_of_the_shared_cache_does_not_overrule_memory() {
    let database = TestDatabase::sqlite().await;
    database.migrate().await;
    let store = store::open(&database.section).await.unwrap();
    let slug: Slug = "overruled".parse().unwrap();
    let kept = crate::store_suite::link("overruled");
    let revision = store.insert_link(&kept, &Actor::Operator).await.unwrap();
    let clock = Arc::new(ManualClock::default());
    let memory: Arc<dyn Cache> = Arc::new(MemoryCache::new(1 << 20));
    let shared: Arc<dyn Cache> = Arc::new(MemoryCache::new(1 << 20));
    let expired = Entry {
        fresh_until: clock.steady() - Duration::from_secs(1),
        ..redis_server::link(&slug, revision.get())
    };
    redis_server::keep(&*memory, &slug, &expired).await;
    redis_server::keep(&*shared, &slug, &redis_server::link(&slug, revision.get() - 1)).await;
    let resolver = Resolver::new(
        &redis_server::settings(&[]),
        Some(memory),
        Some(shared),
        Arc::clone(&store),
        Arc::<ManualClock>::clone(&clock),
        Arc::default(),
        Lifecycle::new(),
    );

    let visit = resolver.visit(&slug, clock.now(), || true, || Ok(()));
    let visit = visit.await.unwrap();

    let Visit::Follow(redirect) = visit else {
        panic!("{visit:?}")
    };
    assert_eq!(redirect.target, kept.target);
    store.close().await;
}

/// A write that the shared cache missed reaches it when it is back: an old target must not return.
#[test]
fn a_change_made_while_the_shared_cache_was_down_is_not_undone_when_it_returns() {
    let proxy = crate::ground::Switch::before_redis();
    let url = proxy.redis_url();
    let database = Arc::new(crate::ground::Ground::fresh(Backend::Postgres));
    let settings = [("REDIS_URL", url.as_str()), ("MEMORY_CACHE_MIB", "0")];
    let app = TestApp::start_on(Backend::Postgres, database, &settings);
    let direct = app.twin(Backend::Postgres, &[("MEMORY_CACHE_MIB", "0")]);
    app.create(json!({"url": "https://example.org/old", "slug": "moved"}));
    assert_eq!(
        direct.get("/moved").header("location"),
        Some("https://example.org/old")
    );

    proxy.cut();
    assert_eq!(
        app.api(
            "PATCH",
            "/links/moved",
            Some(&json!({"url": "https://example.org/new"}))
        )
        .status,
        200
    );
    proxy.heal();

    let deadline = Instant::now() + Duration::from_secs(5);
    while direct.get("/moved").header("location") != Some("https://example.org/new") {
        assert!(
            Instant::now() < deadline,
            "the shared cache still has the old target"
        );
        std::thread::yield_now();
    }
}
