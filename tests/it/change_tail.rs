//! Every instance follows the changes that the store records, whatever Redis missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curtail::domain::Clock;
use jiff::SignedDuration;
use serde_json::json;

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::worker::worker;

/// Longer than an instance may take to follow a change, for a machine that does other things too.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than memory trusts what it holds without a look at the changes.
const ASLEEP: Duration = Duration::from_secs(10);

fn becomes(app: &TestApp, path: &str, status: u16) {
    let deadline = Instant::now() + DEADLINE;
    while app.get(path).status != status {
        assert!(
            Instant::now() < deadline,
            "{path} is still {}",
            app.get(path).status
        );
        std::thread::yield_now();
    }
}

fn disable(app: &TestApp, slug: &str) {
    let answer = app.api(
        "PATCH",
        &format!("/links/{slug}"),
        Some(&json!({"disabled": true})),
    );
    assert_eq!(answer.status, 200);
}

/// The writer's list of changes to publish again was in its memory, and ended with it.
#[test]
fn a_change_of_a_writer_that_redis_never_heard_of_reaches_the_others_though_the_writer_stopped() {
    let switch = Switch::before_redis();
    let url = switch.redis_url();
    let database = Arc::new(Ground::fresh(Backend::Postgres));
    let writer = TestApp::start_on(Backend::Postgres, database, &[("REDIS_URL", &url)]);
    let reader = writer.twin(
        Backend::Postgres,
        &[("REDIS_URL", &crate::redis_server::needed("TEST_REDIS_URL"))],
    );
    writer.create(json!({"url": "https://example.org/", "slug": "harmful"}));
    assert_eq!(reader.get("/harmful").status, 302);

    switch.cut();
    disable(&writer, "harmful");
    drop(writer);

    becomes(&reader, "/harmful", 410);
}

/// A replica that had not received the last write took its primary's place. Even the instance that made the change went
/// back to the old state.
#[test]
fn an_old_value_that_returns_to_redis_is_refused() {
    let app = TestApp::start(Backend::Postgres);
    let without_memory = app.twin(Backend::Postgres, &[("MEMORY_CACHE_MIB", "0")]);
    app.create(json!({"url": "https://example.org/", "slug": "failover"}));
    assert_eq!(without_memory.get("/failover").status, 302);
    let mut redis = app.database.redis();
    let key = format!("{}link:failover", app.database.redis_prefix());
    let old: Vec<u8> = redis.get(&key);

    disable(&app, "failover");
    becomes(&without_memory, "/failover", 410);
    let deadline = Instant::now() + DEADLINE;
    while without_memory.metrics.changes.applied.get() == 0 {
        assert!(Instant::now() < deadline, "the change is not read");
        std::thread::yield_now();
    }
    // The first may be removed before it is read, as older states are once after a change.
    for _ in 0..3 {
        redis.set(&key, &old);
        assert_eq!(without_memory.get("/failover").status, 410);
    }
    assert!(without_memory.metrics.changes.refused.get() > 0);
    app.clock.advance(ASLEEP);
    assert_eq!(app.get("/failover").status, 410);
}

/// A process that was frozen trusts nothing before it has read what changed meanwhile.
#[test]
fn an_instance_that_wakes_reads_the_changes_before_it_answers() {
    let app = TestApp::start(Backend::Postgres);
    let sleeper = app.twin(
        Backend::Postgres,
        &[("REDIS_URL", ""), ("MEMORY_CACHE_SECONDS", "3600")],
    );
    for number in 0..20 {
        let slug = format!("dream-{number}");
        app.create(json!({"url": "https://example.org/", "slug": slug}));
        assert_eq!(sleeper.get(&format!("/{slug}")).status, 302);

        disable(&app, &slug);
        app.clock.advance(ASLEEP);

        assert_eq!(sleeper.get(&format!("/{slug}")).status, 410);
    }
}

/// While the changes cannot be read, memory trusts what it holds for five seconds, as it did before there were any.
#[test]
fn without_the_changes_memory_is_trusted_for_five_seconds() {
    let switch = Switch::before_postgres();
    let database = Arc::new(Ground::through(&switch));
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&database), &[]);
    app.create(json!({"url": "https://example.org/", "slug": "kept"}));
    assert_eq!(app.get("/kept").status, 302);
    let asked = || app.metrics.resolve.shared.get() + app.metrics.resolve.stale.get();
    let before = asked();

    switch.cut();
    app.clock.advance(ASLEEP);

    assert_eq!(app.get("/kept").status, 302);
    assert_eq!(
        asked(),
        before + 1,
        "Redis is asked before memory is trusted again"
    );
}

/// A point-in-time restore takes revisions back. What is committed after it wins over what the caches hold from before.
#[test]
fn a_change_after_a_restore_wins_over_the_caches() {
    let app = TestApp::start(Backend::Postgres);
    let reader = app.twin(Backend::Postgres, &[]);
    app.create(json!({"url": "https://example.org/1", "slug": "restored"}));
    let revision = app
        .database
        .number("SELECT revision FROM links WHERE slug = 'restored'");
    for number in 2..5 {
        let patch = json!({"url": format!("https://example.org/{number}")});
        assert_eq!(app.api("PATCH", "/links/restored", Some(&patch)).status, 200);
    }
    assert_eq!(reader.get("/restored").status, 302);
    app.database.execute(&format!(
        "UPDATE links SET revision = {revision}, target = 'https://example.org/1' WHERE slug = 'restored'"
    ));

    disable(&app, "restored");

    assert_eq!(app.get("/restored").status, 410);
    becomes(&reader, "/restored", 410);
}

/// A database that was restored from one whose clock was ahead draws lower revisions than the caches know. Another
/// instance redirected a deleted link after 8 s.
#[test]
fn a_change_wins_over_caches_that_are_ahead_of_a_restored_database() {
    let app = TestApp::start(Backend::Postgres);
    let subscribed = app.twin(Backend::Postgres, &[]);
    let alone = app.twin(Backend::Postgres, &[("REDIS_URL", "")]);
    app.create(json!({"url": "https://example.org/1", "slug": "ahead"}));
    let revision = app
        .database
        .number("SELECT revision FROM links WHERE slug = 'ahead'");
    app.database
        .execute("UPDATE links SET revision = revision + 3600000000 WHERE slug = 'ahead'");
    assert_eq!(alone.get("/ahead").status, 302);
    let patch = json!({"url": "https://example.org/2"});
    assert_eq!(app.api("PATCH", "/links/ahead", Some(&patch)).status, 200);
    assert_eq!(subscribed.get("/ahead").status, 302);
    app.database.execute(&format!(
        "UPDATE links SET revision = {revision} WHERE slug = 'ahead';
         DELETE FROM changes WHERE slug = 'ahead' AND kind <> 'link.created'"
    ));

    disable(&app, "ahead");

    assert_eq!(app.get("/ahead").status, 410);
    becomes(&subscribed, "/ahead", 410);
    becomes(&alone, "/ahead", 410);
}

/// A purge was not published: the caches knew the expired link, and hid the imported one for up to 300 s.
#[test]
fn an_imported_link_is_not_hidden_by_a_purged_one() {
    let app = TestApp::start(Backend::Postgres);
    let reader = app.twin(Backend::Postgres, &[]);
    app.create(json!({"url": "https://example.org/old", "slug": "again"}));
    let soon = (app.clock.now() + SignedDuration::from_secs(1)).to_string();
    let answer = app.api("PATCH", "/links/again", Some(&json!({"expires_at": soon})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    app.clock.advance(Duration::from_secs(2));
    assert_eq!(reader.get("/again").status, 410);
    app.database
        .execute("UPDATE links SET expires_at = now() - interval '1000 days' WHERE slug = 'again'");
    let output = worker(&app.database, &["--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(app.database.number("SELECT count(*) FROM links"), 0);

    let key = format!("Bearer {ADMIN_KEY}");
    let csv = b"slug,url\nagain,https://example.org/new\n";
    let imported = app.send(
        "POST",
        "/api/v1/import?format=csv",
        &[("authorization", key.as_str())],
        csv,
    );
    assert_eq!(imported.status, 200, "{}", imported.body);

    becomes(&app, "/again", 302);
    becomes(&reader, "/again", 302);
}

/// The age of an entry went by the time of day: a clock that was put back two hours gave it two more hours.
#[test]
fn a_clock_that_is_put_back_makes_no_entry_younger() {
    let app = TestApp::start(Backend::Postgres);
    let settings = [("REDIS_URL", ""), ("MEMORY_CACHE_SECONDS", "60")];
    let reader = app.twin(Backend::Postgres, &settings);
    app.create(json!({"url": "https://example.org/", "slug": "aged"}));
    assert_eq!(reader.get("/aged").status, 302);
    let read = reader.metrics.resolve.store.get();

    app.clock.put_back(Duration::from_secs(7200));
    app.clock.advance(Duration::from_secs(61));

    assert_eq!(reader.get("/aged").status, 302);
    assert_eq!(reader.metrics.resolve.store.get(), read + 1);
}

/// Each visit of a link whose limit is used up was a statement on the only connection that writes.
#[test]
fn a_used_up_link_is_asked_of_the_store_once() {
    let app = TestApp::start(Backend::Postgres);
    app.create(json!({"url": "https://example.org/", "slug": "once", "max_clicks": 1}));
    let person = [(
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    )];
    let visit = || app.send("GET", "/once", &person, b"").status;
    assert_eq!((visit(), visit()), (302, 410));

    // A statement would fail: it could not have the table.
    let (release, released) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (locked, is_locked) = std::sync::mpsc::channel();
        let database = &app.database;
        scope.spawn(move || database.hold_and_tell("LOCK TABLE links", &locked, &released));
        is_locked.recv().unwrap();
        for _ in 0..20 {
            assert_eq!(visit(), 410);
            assert_eq!(app.send("HEAD", "/once", &person, b"").status, 410);
        }
        release.send(()).unwrap();
    });

    let more = json!({"max_clicks": 2});
    assert_eq!(app.api("PATCH", "/links/once", Some(&more)).status, 200);
    assert_eq!((visit(), visit()), (302, 410));
}

/// Another instance answered "the limit is reached" for a link without a limit, or for one that was deleted.
#[test]
fn a_limit_that_was_removed_elsewhere_refuses_nobody() {
    let app = TestApp::start(Backend::Postgres);
    let other = app.twin(
        Backend::Postgres,
        &[("REDIS_URL", ""), ("MEMORY_CACHE_SECONDS", "3600")],
    );
    for slug in ["unlimited", "deleted"] {
        app.create(json!({"url": "https://example.org/", "slug": slug, "max_clicks": 9}));
        assert_eq!(other.get(&format!("/{slug}")).status, 302);
    }

    let patch = json!({"max_clicks": null});
    assert_eq!(app.api("PATCH", "/links/unlimited", Some(&patch)).status, 200);
    assert_eq!(app.api("DELETE", "/links/deleted", None).status, 204);

    assert_eq!(other.get("/unlimited").status, 302);
    assert_eq!(other.get("/deleted").status, 404);
}
