//! Instances hear of each other's changes, and do not trust what they hear more than what they read.

use std::time::{Duration, Instant};

use deadpool_redis::redis;
use serde_json::json;

use crate::app::{Answer, Backend, TestApp};
use crate::redis_server::needed;

/// A change is told within a second. This is for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// An instance that trusts its memory for an hour: only what it hears can change its mind.
fn trusting(app: &TestApp) -> TestApp {
    app.twin(Backend::Postgres, &[("MEMORY_CACHE_SECONDS", "3600")])
}

/// Changes a link until the listener, whose subscription may not stand yet, has heard of it.
fn changed_until_heard(change: impl Fn(u64) -> Answer, heard: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        assert_eq!(change(number).status / 100, 2);
        let next = Instant::now() + Duration::from_millis(300);
        while Instant::now() < next {
            if heard(number) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "the change is not heard of");
    }
}

#[test]
fn a_change_reaches_the_memory_of_another_instance() {
    let app = TestApp::start(Backend::Postgres);
    let other = trusting(&app);
    app.create(json!({"url": "https://example.org/old", "slug": "told"}));
    assert_eq!(
        other.get("/told").header("location"),
        Some("https://example.org/old")
    );

    changed_until_heard(
        |number| {
            let patch = json!({"url": format!("https://example.org/new/{number}")});
            app.api("PATCH", "/links/told", Some(&patch))
        },
        |number| {
            let wanted = format!("https://example.org/new/{number}");
            other.get("/told").header("location") == Some(&wanted)
        },
    );

    assert_eq!(app.api("DELETE", "/links/told", None).status, 204);
    let deadline = Instant::now() + PATIENCE;
    while other.get("/told").status != 404 {
        assert!(Instant::now() < deadline, "the deletion is not heard of");
    }
}

/// Whoever may publish may not say more than whoever may write a value.
#[test]
fn what_is_told_is_checked_like_a_value() {
    let app = TestApp::start(Backend::Postgres);
    let other = trusting(&app);
    app.create(json!({"url": "https://example.org/good", "slug": "kept"}));
    app.create(json!({"url": "https://example.org/0", "slug": "sign"}));
    assert_eq!(other.get("/kept").status, 302);
    assert_eq!(other.get("/sign").status, 302);
    let value = app
        .database
        .redis()
        .get(&format!("{}link:kept", app.database.redis_prefix()));
    let at = value.windows(5).position(|window| window == b"https").unwrap();
    let mut harmful = value.clone();
    harmful.splice(at..at + 24, *b"javascript:alert(1)/////");
    // A rank above all others, in its header alone.
    let mut overstated = value.clone();
    overstated.splice(2..22, *b"09000000000000000000");

    let client = redis::Client::open(needed("TEST_REDIS_URL")).unwrap();
    let channel = format!("{}changes", app.database.redis_prefix());
    changed_until_heard(
        |number| {
            for lie in [&harmful, &overstated, &b"C2nonsense\n".to_vec(), &Vec::new()] {
                let mut connection = client.get_connection().unwrap();
                redis::cmd("PUBLISH")
                    .arg(&channel)
                    .arg(lie)
                    .exec(&mut connection)
                    .unwrap();
            }
            let patch = json!({"url": format!("https://example.org/{}", number + 1)});
            app.api("PATCH", "/links/sign", Some(&patch))
        },
        |number| {
            let wanted = format!("https://example.org/{}", number + 1);
            other.get("/sign").header("location") == Some(&wanted)
        },
    );

    // The sign came after the lies, over the same channel.
    assert_eq!(
        other.get("/kept").header("location"),
        Some("https://example.org/good")
    );
}
