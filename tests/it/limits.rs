//! How often somebody may ask.

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::app::{ADMIN_KEY, Answer, Backend, TestApp};
use crate::ground::Switch;
use crate::keys_api::{key_for, with_key};
use crate::on_both_stores;
use crate::redis_server::{connect, needed};

fn create(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    app.send(
        "POST",
        "/api/v1/links",
        &all,
        b"{\"url\":\"https://example.org/\"}",
    )
}

/// The quota, what is left of it, and the seconds until it is whole, as the headers of RateLimit say.
#[track_caller]
fn budget(answer: &Answer) -> (u32, u32, u32) {
    let header = |name| {
        answer
            .header(name)
            .unwrap_or_else(|| panic!("no {name}: {answer:?}"))
    };
    let number = |value: &str, name: &str| {
        let parameter = value.split(';').find_map(|part| part.strip_prefix(name));
        parameter.unwrap().parse::<u32>().unwrap()
    };
    let (policy, limit) = (header("ratelimit-policy"), header("ratelimit"));
    assert_eq!(policy.split(';').next(), limit.split(';').next());
    assert!(policy.ends_with(";w=60"), "{policy}");
    (number(policy, "q="), number(limit, "r="), number(limit, "t="))
}

#[track_caller]
fn assert_limited(answer: &Answer, limit: u32) {
    answer.assert_problem(429, "rate_limited");
    let number = |name| {
        answer
            .header(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .parse::<u32>()
            .unwrap()
    };
    assert!((1..=60).contains(&number("retry-after")), "{answer:?}");
    let (quota, left, seconds) = budget(answer);
    assert_eq!((quota, left), (limit, 0));
    assert!((1..=60).contains(&seconds), "{answer:?}");
}

on_both_stores! {
    fn a_key_makes_so_many_links_a_minute(backend) {
        let app = TestApp::start_with(backend, &[("CREATE_RATE_PER_MINUTE", "3"), ("ANONYMOUS_CREATE", "true")]);
        let key = key_for(&app, &["links:create"]);
        let link = json!({"url": "https://example.org/", "slug": "live"});
        assert_eq!(with_key(&app, &key, "POST", "/links", Some(&link)).status, 201);
        assert_eq!(with_key(&app, &key, "POST", "/links/bulk", Some(&json!({"links": [{"url": "https://example.org/"}]}))).status, 200);
        with_key(&app, &key, "POST", "/links", Some(&link)).assert_problem(409, "slug_taken");

        let refused = with_key(&app, &key, "POST", "/links", Some(&link));

        assert_limited(&refused, 3);
        assert_limited(&with_key(&app, &key, "POST", "/links/bulk", Some(&json!({}))), 3);
        let other = key_for(&app, &["links:create"]);
        for (key, status) in [(other.as_str(), 409), (ADMIN_KEY, 409)] {
            assert_eq!(with_key(&app, key, "POST", "/links", Some(&link)).status, status);
        }
        assert_eq!(create(&app, &[]).status, 201);
        for _ in 0..20 {
            assert_eq!(app.get("/live").status, 302);
        }
    }

    fn one_peer_keeps_to_its_budget_whatever_it_forwards(backend) {
        let app = TestApp::start_with(backend, &[("CREATE_RATE_PER_MINUTE", "6"), ("ANONYMOUS_CREATE", "true"), ("MISS_RATE_PER_MINUTE", "500")]);
        // With SQLite an instance is alone.
        let twin = (backend == Backend::Postgres).then(|| app.twin(backend, &[("MISS_RATE_PER_MINUTE", "500")]));
        // The first call of a connection may come before it stands.
        assert!([Some(&app), twin.as_ref()].into_iter().flatten().all(|app| app.api("GET", "/keys", None).status == 200));
        let began = Instant::now();

        let mut answered = 0;
        for n in 0..10_000_u32 {
            let app = twin.as_ref().filter(|_| n % 2 == 1).unwrap_or(&app);
            let address = format!("{}.{}.{}.{}", n % 223 + 1, n % 251, n / 256, n % 256);
            let answer = app.send("GET", &format!("/unknown-{n}"), &[("x-forwarded-for", &address), ("forwarded", "for=1.2.3.4")], b"");
            answered += u32::from(answer.status == 404);
        }

        // Redis goes by its own clock, which does not stand still.
        let minutes = if backend == Backend::Postgres { began.elapsed().as_secs_f64() / 60.0 } else { 0.0 };
        let budget = 500.0 * (1.0 + minutes);
        assert!((500.0..=budget * 1.01).contains(&f64::from(answered)), "{answered} of {budget}");
    }

    fn a_scanner_is_soon_no_work_for_the_store(backend) {
        let app = TestApp::start_with(backend, &[("MISS_RATE_PER_MINUTE", "5"), ("TRUSTED_PROXY_HOPS", "1")]);
        app.create(json!({"url": "https://example.org/", "slug": "known"}));
        let from = |address: &str, path: &str| app.send("GET", path, &[("x-forwarded-for", address)], b"").status;

        for n in 0..1000 {
            from("192.0.2.1", &format!("/guess-{n}"));
        }

        // Five of the budget, the one that was refused, and what all scanners share in a minute that stands still.
        let asked = app.metrics.resolve.absent.get();
        assert!((300..=320).contains(&asked), "{asked}");
        assert_eq!(from("192.0.2.1", "/known"), 302);
        assert_eq!(from("192.0.2.1", "/another"), 429);
        assert_eq!(from("198.51.100.1", "/another"), 404);
    }

    fn visits_of_a_used_up_link_are_limited_like_those_of_an_unknown_slug(backend) {
        let app = TestApp::start_with(backend, &[("MISS_RATE_PER_MINUTE", "2")]);
        app.create(json!({"url": "https://example.org/", "slug": "once", "max_clicks": 1}));
        let person = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")];
        let visit = || app.send("GET", "/once", &person, b"");
        assert_eq!(visit().status, 302);

        assert_eq!((visit().status, visit().status), (410, 410));
        assert_limited(&visit(), 2);
        assert_limited(&app.get("/unknown"), 2);
    }

    fn behind_a_proxy_each_client_has_a_budget(backend) {
        let app = TestApp::start_with(backend, &[("MISS_RATE_PER_MINUTE", "1"), ("TRUSTED_PROXY_HOPS", "2")]);
        let ask = |forwarded: &str| app.send("GET", "/unknown", &[("x-forwarded-for", forwarded)], b"").status;
        // The second entry from the right counts; what stands further left anybody may have written.
        for (first, second) in [
            ("192.0.2.1, 10.0.0.1", "198.51.100.7, 192.0.2.1, 10.0.0.2"),
            ("192.0.2.2:4711,10.0.0.1", "192.0.2.2 , 10.0.0.1"),
            ("2001:db8:1:2::1, 10.0.0.1", "2001:db8:1:2:ffff::9, 10.0.0.1"),
            ("[2001:db8:1:3::1]:80, 10.0.0.1", "2001:db8:1:3::1, 10.0.0.1"),
            ("::ffff:192.0.2.3, 10.0.0.1", "192.0.2.3, 10.0.0.1"),
            // Nonsense, and too few: the peer.
            ("nonsense, 10.0.0.1", "192.0.2.9"),
        ] {
            assert_eq!((ask(first), ask(second)), (404, 429), "{first}");
        }
    }

    fn wrong_keys_are_limited_and_right_ones_are_not(backend) {
        // A bulk importer without a limit leaves the one of wrong keys alone.
        let app = TestApp::start_with(backend, &[("CREATE_RATE_PER_MINUTE", "0"), ("WRONG_KEY_RATE_PER_MINUTE", "3")]);
        let wrong = |n: usize| app.send("GET", "/api/v1/links", &[("authorization", &format!("Bearer ctl_{n:032}"))], b"");
        for n in 0..3 {
            wrong(n).assert_problem(401, "unauthenticated");
        }

        assert_limited(&wrong(4), 3);

        assert_limited(&app.send("GET", "/api/v1/links", &[("authorization", "Basic eDp5")], b""), 3);
        assert_eq!(app.api("GET", "/links", None).status, 200);
    }

    /// Every guess of `ADMIN_API_KEY` was compared, however many were wrong before.
    fn a_network_that_guesses_keys_has_a_few_compared(backend) {
        let settings = [("WRONG_KEY_RATE_PER_MINUTE", "3"), ("TRUSTED_PROXY_HOPS", "1")];
        let app = TestApp::start_with(backend, &settings);
        let issued = key_for(&app, &["links:read"]);
        let ask = |address: &str, key: &str| {
            let headers = [("x-forwarded-for", address), ("authorization", &*format!("Bearer {key}"))];
            app.send("GET", "/api/v1/links", &headers, b"")
        };
        assert_eq!(ask("192.0.2.1", &issued).status, 200);

        for n in 0..400 {
            ask("192.0.2.1", &format!("guess-{n}"));
        }

        assert_limited(&ask("192.0.2.1", ADMIN_KEY), 3);
        assert_eq!(ask("192.0.2.1", &issued).status, 200, "a key that was right a moment ago");
        assert_eq!(ask("198.51.100.1", ADMIN_KEY).status, 200);
        app.clock.advance(Duration::from_secs(60));
        assert_eq!(ask("192.0.2.1", ADMIN_KEY).status, 200);
    }

    fn no_limit_is_no_limit(backend) {
        let app = TestApp::start_with(backend, &[("CREATE_RATE_PER_MINUTE", "0"), ("MISS_RATE_PER_MINUTE", "0")]);
        for n in 0..200 {
            assert_eq!(app.get(&format!("/unknown-{n}")).status, 404);
        }
    }
}

#[test]
fn a_budget_comes_back_with_time() {
    let app = TestApp::start_with(Backend::Sqlite, &[("MISS_RATE_PER_MINUTE", "2")]);
    let ask = || app.get("/unknown").status;
    assert_eq!([ask(), ask(), ask()], [404, 404, 429]);

    app.clock.advance(Duration::from_secs(30));
    assert_eq!([ask(), ask()], [404, 429]);
    app.clock.advance(Duration::from_secs(3600));
    assert_eq!([ask(), ask(), ask()], [404, 404, 429]);
}

#[test]
fn all_instances_have_one_budget() {
    let settings = [("MISS_RATE_PER_MINUTE", "4")];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    let twin = app.twin(Backend::Postgres, &settings);
    // The first call of a connection may come before it stands.
    assert!(app.api("GET", "/keys", None).status == 200 && twin.api("GET", "/keys", None).status == 200);

    let statuses: Vec<_> = (0..6)
        .map(|n| {
            if n % 2 == 0 {
                app.get("/unknown").status
            } else {
                twin.get("/unknown").status
            }
        })
        .collect();

    assert_eq!(statuses, [404, 404, 404, 404, 429, 429]);
}

#[test]
fn without_the_shared_cache_each_instance_has_a_budget() {
    let switch = Switch::before_redis();
    let settings = [("MISS_RATE_PER_MINUTE", "2"), ("REDIS_URL", &*switch.redis_url())];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    app.create(json!({"url": "https://example.org/", "slug": "live"}));
    switch.cut();

    let statuses: Vec<_> = (0..4).map(|_| app.get("/unknown").status).collect();

    assert_eq!(statuses, [404, 404, 429, 429]);
    assert_eq!(app.get("/live").status, 302);
}

/// The names were unsalted hashes: of 2^32 addresses each is found in seconds.
#[test]
fn budgets_in_redis_are_named_by_keyed_hashes_of_addresses() {
    let settings = [("MISS_RATE_PER_MINUTE", "4")];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    // Another database, and so another secret, in the same part of Redis.
    let of_app = [settings[0], ("REDIS_KEY_PREFIX", app.database.redis_prefix())];
    let stranger = TestApp::start_with(Backend::Postgres, &of_app);
    assert!(app.api("GET", "/keys", None).status == 200 && stranger.api("GET", "/keys", None).status == 200);

    let names = || -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut redis = connect(&needed("TEST_REDIS_URL")).await;
            let pattern = format!("{}rate:*", app.database.redis_prefix());
            cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap()
        })
    };
    assert_eq!(app.get("/unknown").status, 404);
    let of_one = names();
    assert_eq!(stranger.get("/unknown").status, 404);
    let of_both = names();

    assert_eq!((of_one.len(), of_both.len()), (1, 2));
    for what in ["miss\x00127.0.0.1", "miss\x00::1", "127.0.0.1", "::1"] {
        let digest = Sha256::digest(what);
        let unsalted: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!of_both.iter().any(|name| name.contains(&unsalted)), "{what}");
    }
}

/// The names are keyed by a secret in the store, which needs no key in the settings.
#[test]
fn without_an_admin_key_instances_share_their_budgets_all_the_same() {
    let settings = [("MISS_RATE_PER_MINUTE", "2"), ("ADMIN_API_KEY", "")];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    let twin = app.twin(Backend::Postgres, &settings);

    let statuses = [&app, &twin, &app, &twin, &app, &twin].map(|app| app.get("/unknown").status);

    assert_eq!(statuses, [404, 404, 429, 429, 429, 429]);
}
