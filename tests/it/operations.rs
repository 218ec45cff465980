//! Section 5 of the contract: health, version, headers, hosts.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::on_both_stores;

on_both_stores! {
    fn a_service_that_can_work_says_so(backend) {
        let app = TestApp::start(backend);
        let cache = if backend == Backend::Postgres { "ok" } else { "disabled" };

        assert_eq!(app.get("/health/live").json(), json!({"status": "ok"}));
        assert_eq!(app.get("/health/startup").json(), json!({"status": "ok"}));
        let ready = app.get("/health/ready");

        assert_eq!((ready.status, ready.json()), (200, json!({"status": "ok", "checks": {"database": "ok", "cache": cache}})));
        for path in ["/health/live", "/health/startup", "/health/ready", "/version"] {
            let head = app.send("HEAD", path, &[], b"");
            assert_eq!((head.status, head.body.as_str(), head.header("cache-control")), (200, "", Some("no-store")), "{path}");
            app.send("POST", path, &[], b"").assert_problem(405, "method_not_allowed");
        }
    }

    fn the_version_is_that_of_the_build(backend) {
        let app = TestApp::start(backend);

        let version = app.get("/version").json();

        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert!(!version["git_commit"].as_str().unwrap().is_empty());
        assert!(version["build_time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        let (store, cache) = match backend {
            Backend::Postgres => ("postgres", "memory+redis"),
            Backend::Sqlite => ("sqlite", "memory"),
        };
        assert_eq!((version["store"].as_str(), version["cache"].as_str()), (Some(store), Some(cache)));
        assert_eq!(version.as_object().unwrap().len(), 5);
    }

    fn browsers_and_crawlers_find_what_they_ask_for(backend) {
        let app = TestApp::start(backend);

        let robots = app.get("/robots.txt");
        assert_eq!((robots.status, robots.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        assert!(robots.body.starts_with("User-agent: *\n"));
        assert_eq!(app.get("/favicon.ico").status, 204);
        let home = app.get("/");
        assert_eq!((home.status, home.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(home.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }

    fn a_path_of_the_api_may_be_percent_encoded(backend) {
        let app = TestApp::start(backend);

        let answer = app.send("GET", "/%61pi/v1/links", &[], b"");

        answer.assert_problem(401, "unauthenticated");
    }

    fn every_answer_has_an_id_of_its_own(backend) {
        let app = TestApp::start(backend);
        let mut ids = std::collections::HashSet::new();
        for path in ["/", "/nothing", "/health/live", "/api/v1/links/x", "/api/v1/nothing", "/a/b/c"] {
            let answer = app.send("GET", path, &[("x-request-id", "mine")], b"");
            let id = answer.header("x-request-id").unwrap().to_owned();

            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert!(ids.insert(id));
        }
    }

    fn a_proxys_word_is_taken_only_from_a_trusted_hop(backend) {
        let forged = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example;proto=https"), ("accept", "text/html")];
        let trusting = TestApp::start_with(backend, &[("TRUSTED_PROXY_HOPS", "1")]);
        let alone = trusting.twin(backend, &[]);
        let key = format!("Bearer {ADMIN_KEY}");
        let short_url = |app: &TestApp| {
            let headers = [&forged[..3], &[("authorization", key.as_str()), ("content-type", "application/json")]].concat();
            app.send("POST", "/api/v1/links", &headers, b"{\"url\":\"https://example.org/\"}").json()["short_url"].as_str().unwrap().to_owned()
        };

        assert!(short_url(&alone).starts_with(&alone.url("/")));
        assert!(short_url(&trusting).starts_with(&trusting.url("/").replace("http:", "https:")));
        assert_eq!(alone.send("GET", "/", &forged, b"").header("strict-transport-security"), None);
        assert!(trusting.send("GET", "/", &forged, b"").header("strict-transport-security").is_some());
    }
}

/// Trial mode trusts everybody who can reach it, so a web page that points its own name at this machine must
/// not reach it.
#[test]
fn trial_mode_answers_loopback_hosts_alone_and_asks_for_no_key() {
    let app = TestApp::start_with(Backend::Sqlite, &[]);
    let directory = tempfile::tempdir().unwrap();
    let trial = crate::process::Curtail::start_in(directory.path(), &[("PORT", "0")]);
    let send = |host: &str| {
        trial.send(&format!(
            "GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
    };

    for host in [
        "localhost",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]:80",
        "LOCALHOST",
        "a.localhost",
        "127.9.9.9",
    ] {
        assert!(send(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    for host in [
        "example.org",
        "127.0.0.1.nip.io",
        "localhost.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "",
        "[::2]",
        "127.0.0.1@x",
        "a b",
    ] {
        let answer = send(host);
        assert!(
            answer.starts_with("HTTP/1.1 421") || answer.starts_with("HTTP/1.1 400"),
            "{host}: {answer}"
        );
    }
    assert!(send("example.org").contains("\"foreign_host\""));
    let body = "{\"url\":\"https://example.org/\"}";
    let create = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(trial.send(&create).starts_with("HTTP/1.1 201"));
    assert_eq!(
        app.send("GET", "/version", &[("host", "example.org")], b"")
            .status,
        200
    );
}

#[test]
fn a_store_that_is_down_is_503_within_a_second_and_never_404() {
    let database = std::sync::Arc::new(Ground::unreachable());
    let app = TestApp::start_on(Backend::Postgres, database, &[("REDIS_URL", "")]);
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
    ];
    let requests = [
        ("GET", "/some-slug", &b""[..]),
        ("HEAD", "/some-slug", b""),
        ("POST", "/api/v1/links", b"{\"url\":\"https://example.org/\"}"),
        (
            "POST",
            "/api/v1/links",
            b"{\"url\":\"https://example.org/\",\"slug\":\"x\"}",
        ),
        ("GET", "/api/v1/links/x", b""),
        ("PATCH", "/api/v1/links/x", b"{\"title\":\"t\"}"),
        ("DELETE", "/api/v1/links/x", b""),
    ];
    for (method, path, body) in requests {
        let start = Instant::now();
        let answer = app.send(method, path, &headers, body);

        assert_eq!(answer.status, 503, "{method} {path}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{method} {path} took {:?}",
            start.elapsed()
        );
        if method != "HEAD" {
            answer.assert_problem(503, "unavailable");
            assert!(
                !answer.body.contains("postgres") && !answer.body.contains("127.0.0.1"),
                "{}",
                answer.body
            );
        }
    }
    assert_eq!(app.get("/health/live").status, 200);
    assert_eq!(app.get("/health/startup").status, 503);
    let ready = app.get("/health/ready");
    assert_eq!(
        (ready.status, ready.json()["checks"]["database"].as_str()),
        (503, Some("unavailable"))
    );
}

/// Every instance loses the database at one moment. One that says it is not ready gets no visitors, also for what its
/// caches have.
#[test]
fn an_instance_whose_database_is_away_is_ready_and_degraded() {
    let switch = Switch::before_postgres();
    let database = std::sync::Arc::new(Ground::through(&switch));
    let app = TestApp::start_on(Backend::Postgres, database, &[]);
    app.create(json!({"url": "https://example.org/", "slug": "kept"}));
    assert_eq!(app.get("/kept").status, 302);
    assert_eq!(app.get("/health/ready?strict").status, 200);

    switch.cut();
    // An answer is held for a second.
    app.clock.advance(Duration::from_secs(2));

    let (ready, strict) = (app.get("/health/ready"), app.get("/health/ready?strict"));
    let checks = json!({"database": "unavailable", "cache": "ok"});
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"status": "degraded", "checks": checks}))
    );
    assert_eq!(
        (strict.status, strict.json()),
        (503, json!({"status": "unavailable", "checks": checks}))
    );
    for (query, status) in [
        ("strict=true", 503),
        ("strict=false", 200),
        ("x&strict", 503),
        ("", 200),
    ] {
        assert_eq!(
            app.get(&format!("/health/ready?{query}")).status,
            status,
            "{query}"
        );
    }
    assert_eq!(app.get("/health/startup").status, 200);
    assert_eq!(app.get("/kept").status, 302);
    switch.heal();
    eventually("ready", || {
        app.clock.advance(Duration::from_secs(2));
        app.get("/health/ready?strict").status == 200
    });
}

/// With no instance left after a quiet hour, none could start while the database was down, although Redis had the links.
#[test]
fn an_instance_starts_without_its_database_if_redis_answers() {
    let switch = Switch::before_postgres();
    let database = std::sync::Arc::new(Ground::through(&switch));
    let first = TestApp::start_on(Backend::Postgres, database, &[("MEMORY_CACHE_MIB", "0")]);
    first.create(json!({"url": "https://example.org/", "slug": "kept"}));
    let mut redis = first.database.redis();
    let key = format!("{}link:kept", first.database.redis_prefix());
    eventually("Redis has the link", || !redis.get(&key).is_empty());
    switch.cut();

    let app = first.twin(Backend::Postgres, &[]);

    // R0b of scripts/rig says how quickly.
    eventually("started", || {
        app.clock.advance(Duration::from_secs(2));
        app.get("/health/startup").status == 200
    });
    assert_eq!(app.get("/health/ready").json()["status"], "degraded");
    assert_eq!(app.get("/kept").header("location"), Some("https://example.org/"));
    let body = json!({"url": "https://example.org/"});
    app.api("POST", "/links", Some(&body))
        .assert_problem(503, "unavailable");
    app.get("/of-the-database").assert_problem(503, "unavailable");
    switch.heal();
    eventually("a link is made", || {
        app.api("POST", "/links", Some(&body)).status == 201
    });
}

#[test]
fn an_instance_with_neither_database_nor_redis_has_not_started() {
    let database = std::sync::Arc::new(Ground::unreachable());
    let app = TestApp::start_on(
        Backend::Postgres,
        database,
        &[("REDIS_URL", "redis://127.0.0.1:1")],
    );

    assert_eq!(app.get("/health/live").status, 200);
    assert_eq!(app.get("/health/startup").json(), json!({"status": "starting"}));
    let ready = app.get("/health/ready");
    let checks = json!({"database": "unavailable", "cache": "unavailable"});
    assert_eq!(
        (ready.status, ready.json()),
        (503, json!({"status": "unavailable", "checks": checks}))
    );
}

/// Waits for what comes by itself.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

#[test]
fn a_shared_cache_that_is_down_degrades_and_harms_nobody() {
    let app = TestApp::start_with(Backend::Postgres, &[("REDIS_URL", "redis://127.0.0.1:1/")]);
    app.create(json!({"url": "https://example.org/", "slug": "works"}));

    assert_eq!(app.get("/works").status, 302);
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(app.get("/works").status, 302);
    assert_eq!(app.get("/nothing").status, 404);
    let ready = app.get("/health/ready");
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        json!({"status": "degraded", "checks": {"database": "ok", "cache": "unavailable"}})
    );
    assert!(app.metrics.shared_cache.failed.get() > 0);
}

#[test]
fn a_start_without_its_database_becomes_ready_when_it_comes() {
    let database = std::sync::Arc::new(Ground::fresh_without_schema());
    let owner = database.owner_url().to_owned();
    let settings = [("MIGRATE_ON_START", "true"), ("DATABASE_URL", owner.as_str())];
    let app = TestApp::start_on(Backend::Postgres, database, &settings);

    // The start migrates in the background: the port is open before.
    let deadline = Instant::now() + Duration::from_secs(20);
    while app.get("/health/startup").status != 200 {
        assert!(Instant::now() < deadline, "the service did not become ready");
        std::thread::yield_now();
    }
    assert_eq!(app.get("/health/ready").status, 200);
}
