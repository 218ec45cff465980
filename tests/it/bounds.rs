//! What strangers can have the database do, by statements: each path that needs no key, and each that refuses its request
//! because it shows none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::app::{Answer, Backend, TestApp};
use crate::deploy::read;
use crate::ground::{Ground, Switch};
use crate::on_both_stores;

const PERSON: (&str, &str) = (
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
);

/// Names of the statements of background tasks, which no request asks for, of the secret that an instance reads once, and of
/// what has no name: the ends of transactions.
fn background() -> BTreeSet<String> {
    let maintenance = [
        "sum_values",
        "forget_summed",
        "record_maintenance",
        "upkeep",
        "shared_secret",
        "create_shared_secret",
        "other",
    ];
    let mut names = BTreeSet::from(maintenance.map(str::to_owned));
    for dialect in ["postgres", "sqlite"] {
        for file in ["changes", "chores", "partitions"] {
            if (dialect, file) == ("sqlite", "partitions") {
                continue;
            }
            let source = read(&format!("src/store/{dialect}/{file}.rs"));
            let named = source
                .split("-- ")
                .filter_map(|rest| Some(rest.split_once("()")?.0.to_owned()));
            names.extend(named);
        }
    }
    assert!(names.contains("changes_since"), "{names:?}");
    names
}

/// Statements so far that requests may have asked for, by name.
fn statements(app: &TestApp) -> BTreeMap<String, u64> {
    let (all, background) = (app.metrics.statements.all(), background());
    all.into_iter()
        .map(|(name, statement)| (name, statement.latency.count()))
        .filter(|(name, _)| !background.contains(name))
        .collect()
}

/// The statements that `work` caused, by name.
fn caused(app: &TestApp, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = statements(app);
    work();
    let mut after = statements(app);
    after.retain(|name, number| {
        *number -= before.get(name).copied().unwrap_or_default();
        *number > 0
    });
    after
}

/// An instance whose start is over, so that only requests cause statements.
fn started(backend: Backend, settings: &[(&str, &str)]) -> TestApp {
    // Clicks stay where they are until the stop.
    let settings = [&[("CLICK_FLUSH_MS", "60000")], settings].concat();
    let app = TestApp::start_with(backend, &settings);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // The start's own check comes first, so that it comes in no one's count later.
    let is_checked = || statements(&app).contains_key("check");
    while !is_checked() || app.get("/health/startup").status != 200 {
        assert!(std::time::Instant::now() < deadline, "the service did not start");
        std::thread::yield_now();
    }
    app
}

/// Every path of the description and of the pages, with `live` and `made-up` for what is in braces.
fn every_path() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(curtail::http::openapi()).unwrap();
    let described = document["paths"].as_object().unwrap().keys().cloned();
    let pages = read("src/http/ui/mod.rs");
    let pages = pages.split("page(\"").skip(1).map(|rest| {
        let path = rest.split('"').next().unwrap();
        if path == "/docs" {
            path.to_owned()
        } else {
            format!("/app{path}")
        }
    });
    let more = [
        "/?made=live",
        "/yourls-api.php?action=expand&shorturl=live",
        "/assets/x.css",
        "/docs",
        "/api/v1",
        "/app/x",
    ];
    let all: BTreeSet<String> = described
        .chain(pages)
        .chain(more.map(str::to_owned))
        .map(|path| {
            path.replace("{slug}", "live")
                .replace("{id}", "madeup")
                .replace("{name}", "x")
        })
        .collect();
    assert!(
        all.len() > 40 && all.contains("/app/links/live/edit") && all.contains("/live+"),
        "{all:?}"
    );
    all
}

on_both_stores! {
    fn what_a_stranger_asks_for_again_costs_no_statement(backend) {
        let settings = [("YOURLS_API", "true"), ("SECURITY_CONTACT", "security@example.org"), ("TRUSTED_PROXY_HOPS", "1")];
        let app = started(backend, &settings);
        app.create(json!({"url": "https://example.org/", "slug": "live", "title": "Live"}));
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

        for path in every_path() {
            for method in methods {
                let body: &[u8] = if ["POST", "PUT", "PATCH"].contains(&method) { b"{\"url\":\"https://example.org/\"}" } else { b"" };
                let ask = |number: u32| {
                    // Each from a network of its own: what is measured is no rate limit.
                    let from = format!("10.0.{}.{}", number / 250, number % 250);
                    let headers = [PERSON, ("x-forwarded-for", &from), ("content-type", "application/json")];
                    app.send(method, &path, &headers, body)
                };
                // A preview reads the link's title once.
                ask(0);

                let caused = caused(&app, || {
                    for number in 1..=5 {
                        let answer = ask(number);
                        assert!(answer.status < 500, "{method} {path}: {}", answer.status);
                    }
                });

                assert_eq!(caused, BTreeMap::new(), "{method} {path}");
            }
        }
        assert_eq!(app.api("GET", "/links", None).json()["links"].as_array().unwrap().len(), 1);
    }

    fn a_click_of_a_limited_link_is_a_statement_and_a_look_at_it_is_one_a_second(backend) {
        let app = started(backend, &[]);
        app.create(json!({"url": "https://example.org/", "slug": "limited", "max_clicks": 100}));
        let looks = |path: &str, method: &str, agent: &str| {
            let work = || (0..10).for_each(|_| {
                let status = app.send(method, path, &[("user-agent", agent)], b"").status;
                assert!(status < 400, "{method} {path}: {status}");
            });
            caused(&app, work)
        };
        let one = |name: &str, number: u64| BTreeMap::from([(name.to_owned(), number)]);

        assert_eq!(looks("/limited", "GET", PERSON.1), one("take_click", 10));
        assert_eq!(looks("/limited", "HEAD", PERSON.1), one("link", 1));
        assert_eq!(looks("/limited", "GET", "Googlebot/2.1"), BTreeMap::new());
        for path in ["/limited+", "/limited/qr.svg", "/limited/qr.png", "/?made=limited"] {
            assert_eq!(looks(path, "GET", PERSON.1), BTreeMap::new(), "{path}");
        }
        app.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(looks("/limited+", "GET", PERSON.1), one("link", 1));
    }

    /// Previews, QR codes and `/?made=` asked the database for each slug that anybody made up.
    fn guesses_are_bounded_on_every_path_that_takes_a_slug(backend) {
        for suffix in ["+", "/qr.svg", "/qr.png", ""] {
            let app = started(backend, &[("MISS_RATE_PER_MINUTE", "5")]);
            let prefix = if suffix.is_empty() { "/?made=" } else { "/" };
            let path = |number: u32| format!("{prefix}guess-{number}{suffix}");

            let caused = caused(&app, || (0..500).for_each(|number| drop(app.get(&path(number)))));

            // Five of the budget, the one that was refused, and what all who guess share in a minute that stands still.
            let asked = caused.values().sum::<u64>();
            assert!((300..=320).contains(&asked), "{suffix}: {caused:?}");
            assert_eq!(app.get(&path(500)).status, 429, "{suffix}");
        }
    }

    fn a_made_up_slug_behind_made_is_a_miss(backend) {
        let app = TestApp::start_with(backend, &[("MISS_RATE_PER_MINUTE", "3")]);
        // The first call of a connection to Redis may come before it stands.
        assert_eq!(app.api("GET", "/keys", None).status, 200);

        let answers: Vec<Answer> = (0..5).map(|number| app.get(&format!("/?made=n{number}"))).collect();

        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 429, 429]);
        answers[4].assert_problem(429, "rate_limited");
        app.get("/unknown").assert_problem(429, "rate_limited");
    }

    fn a_guesser_of_keys_asks_the_database_a_few_times_a_second(backend) {
        let settings = [("WRONG_KEY_RATE_PER_MINUTE", "3"), ("YOURLS_API", "true")];
        let app = started(backend, &settings);
        let guess = |number: u32| {
            let key = format!("Bearer ctl_{number:032}");
            assert!(app.send("GET", "/api/v1/links", &[("authorization", &key)], b"").status > 400);
        };

        let api = caused(&app, || (0..500).for_each(guess));
        let yourls = caused(&app, || (500..600).for_each(|number| {
            app.get(&format!("/yourls-api.php?action=stats&signature=ctl_{number:032}")).assert_problem(429, "rate_limited");
        }));

        assert_eq!(api.keys().collect::<Vec<_>>(), ["key"]);
        assert!((300..=310).contains(&api["key"]), "{api:?}");
        assert_eq!(yourls, BTreeMap::new());
    }

    fn readiness_is_one_check_for_all_who_ask(backend) {
        let app = started(backend, &[]);
        let ask_at_once = || std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| assert_eq!(app.get("/health/ready").status, 200));
            }
        });

        let checks = caused(&app, ask_at_once);
        let held = caused(&app, ask_at_once);
        app.clock.advance(std::time::Duration::from_secs(1));
        let later = caused(&app, ask_at_once);

        assert_eq!((checks.values().sum::<u64>(), later.values().sum::<u64>()), (1, 1), "{checks:?}");
        assert_eq!(held, BTreeMap::new());
    }
}

/// A QR code and a preview were 503 in an outage in which their redirect works.
#[test]
fn previews_and_codes_of_a_cached_link_need_no_database() {
    let switch = Switch::before_postgres();
    let ground = std::sync::Arc::new(Ground::through(&switch));
    let app = TestApp::start_on(Backend::Postgres, ground, &[]);
    app.create(json!({"url": "https://example.org/there", "slug": "live", "title": "Shown later"}));
    assert_eq!(app.get("/live").status, 302);
    switch.cut();

    for path in ["/live/qr.svg", "/live/qr.png", "/?made=live", "/live+"] {
        assert_eq!(app.get(path).status, 200, "{path}");
    }
    let preview = app.get("/live+").body;

    assert!(
        preview.contains("https://example.org/there") && !preview.contains("Shown later"),
        "{preview}"
    );
}
