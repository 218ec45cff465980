//! Many links at once, links that will do, and requests that are sent again.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, TestApp};
use crate::keys_api::{key_for, with_key};
use crate::on_both_stores;

fn bulk(app: &TestApp, links: Vec<Value>) -> Vec<Value> {
    let answer = app.api("POST", "/links/bulk", Some(&json!({"links": links})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

fn named(app: &TestApp, path: &str, name: &str, body: &Value) -> Answer {
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", name),
    ];
    app.send(
        "POST",
        &format!("/api/v1{path}"),
        &headers,
        body.to_string().as_bytes(),
    )
}

fn count(app: &TestApp) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = app.api("GET", &format!("/links?limit=200{cursor}"), None).json();
        count += page["links"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

/// Runs `work` for each number below `times`, eight at a time.
fn at_once(times: usize, work: impl Fn(usize) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if turn >= times {
                        break;
                    }
                    work(turn);
                }
            });
        }
    });
}

on_both_stores! {
    fn many_links_are_made_in_order_and_a_bad_one_fails_alone(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "taken"}));

        let results = bulk(&app, vec![
            json!({"url": "https://example.org/1", "slug": "one", "title": "Ünï \\ \"x\" 😀", "tags": ["a", "b\"{},\\"], "redirect_status": 308,
                "cache_seconds": 5, "forward_query": true, "valid_from": "2026-01-01T00:00:00.123456Z", "expires_at": "2030-01-01T00:00:00Z", "max_clicks": 9}),
            json!({"url": "ftp://example.org/", "length": 1}),
            json!({"url": "https://example.org/2"}),
            json!({"url": "https://example.org/3", "slug": "taken"}),
            json!({"url": "https://example.org/4", "slug": "twice"}),
            json!({"url": "https://example.org/5", "slug": "twice"}),
            json!("no link"),
        ]);

        let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [201, 422, 201, 409, 201, 409, 422]);
        for (at, code) in [(1, "invalid_link"), (3, "slug_taken"), (5, "slug_taken"), (6, "invalid_link")] {
            let problem = &results[at]["problem"];
            assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &results[at]["status"]));
            assert!(problem["type"].is_string() && problem["request_id"].is_string(), "{problem}");
        }
        assert_eq!(results[1]["problem"]["errors"].as_array().unwrap().len(), 2);
        for at in [0, 2, 4] {
            let link = &results[at]["link"];
            assert_eq!(app.api("GET", &format!("/links/{}", link["slug"].as_str().unwrap()), None).json(), *link);
        }
        assert_eq!(app.get("/twice").header("location"), Some("https://example.org/4"));
        let listed = app.api("GET", "/links", None).json();
        assert_eq!((&listed["links"][0]["slug"], &listed["links"][2]["slug"]), (&json!("twice"), &json!("one")));
    }

    fn a_thousand_links_are_made_and_one_more_is_refused(backend) {
        let app = TestApp::start(backend);
        let links = |count: usize| (0..count).map(|n| json!({"url": format!("https://example.org/{n}")})).collect::<Vec<_>>();

        let results = bulk(&app, links(1000));

        assert!(results.iter().all(|result| result["status"] == 201));
        let slugs: HashSet<_> = results.iter().map(|result| result["link"]["slug"].as_str().unwrap()).collect();
        assert_eq!((slugs.len(), count(&app)), (1000, 1000));
        for (body, fault) in [
            (json!({"links": links(1001)}), "/links too_long"), (json!({"links": []}), "/links out_of_range"), (json!({}), "/links missing"),
            (json!({"links": null}), "/links wrong_type"), (json!({"links": {}}), "/links wrong_type"),
            (json!({"links": links(1), "x": 1}), "/x unknown_field"),
        ] {
            let answer = app.api("POST", "/links/bulk", Some(&body));
            answer.assert_problem(422, "invalid_link");
            assert_eq!(answer.faults(), [fault]);
        }
        assert_eq!(count(&app), 1000);
    }

    fn a_body_of_4_mib_is_read_and_one_byte_more_is_413(backend) {
        let app = TestApp::start(backend);
        let body = |length: usize| {
            let start = "{\"links\":[{\"url\":\"https://example.org/\"}]";
            format!("{start}{}}}", " ".repeat(length - start.len() - 1))
        };
        let key = format!("Bearer {ADMIN_KEY}");
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        let send = |length| app.send("POST", "/api/v1/links/bulk", &headers, body(length).as_bytes());

        assert_eq!(send(4 * 1024 * 1024).status, 200);
        send(4 * 1024 * 1024 + 1).assert_problem(413, "body_too_large");
    }

    fn collisions_in_a_batch_are_tried_again(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "taken11"}));
        let body = json!({"links": [{"url": "https://example.org/1"}, {"url": "https://example.org/2"}]});
        for name in [None, Some("a")] {
            app.slugs.script(&["taken11", "taken11"]);

            let answer = match name {
                None => app.api("POST", "/links/bulk", Some(&body)),
                Some(name) => named(&app, "/links/bulk", name, &body),
            };

            let results = answer.json();
            assert!(results["results"].as_array().unwrap().iter().all(|result| result["status"] == 201), "{results}");
        }
        assert_eq!(count(&app), 5);
        app.slugs.script(&["taken11"; 5]);
        named(&app, "/links", "b", &json!({"url": "https://example.org/"})).assert_problem(503, "no_free_slug");
        assert_eq!(count(&app), 5);
    }

    /// In PostgreSQL each of two lists once waited for a slug of the other, and one of them was 503.
    fn two_lists_of_the_same_slugs_in_another_order_do_not_hold_each_other_up(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let made = std::sync::atomic::AtomicUsize::new(0);

        for round in 0..5 {
            let list: Vec<Value> = (0..500).map(|n| json!({"url": "https://example.org/", "slug": format!("r{round}-{n}")})).collect();
            std::thread::scope(|scope| {
                for (app, reverse) in [(&app, false), (&twin, true)] {
                    let mut list = list.clone();
                    if reverse {
                        list.reverse();
                    }
                    let made = &made;
                    scope.spawn(move || {
                        let results = bulk(app, list);
                        let new = results.iter().filter(|result| result["status"] == 201).count();
                        made.fetch_add(new, std::sync::atomic::Ordering::Relaxed);
                    });
                }
            });
        }

        assert_eq!(made.into_inner(), 2500);
        assert_eq!(count(&app), 2500);
    }

    fn a_link_called_bulk_can_be_seen(backend) {
        let app = TestApp::start(backend);
        let link = app.create(json!({"url": "https://example.org/", "slug": "bulk"}));

        assert_eq!(app.api("GET", "/links/bulk", None).json(), link);
    }

    fn bulk_is_not_for_callers_without_a_key(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);

        let answer = app.send("POST", "/api/v1/links/bulk", &[("content-type", "application/json")], b"{\"links\":[{\"url\":\"https://example.org/\"}]}");

        answer.assert_problem(401, "unauthenticated");
    }

    fn a_link_that_will_do_is_reused(backend) {
        let app = TestApp::start(backend);
        let body = json!({"url": "https://example.org/a", "title": "t", "tags": ["x"], "expires_at": "2026-11-21T03:00:00Z", "reuse_existing": true});
        let first = app.api("POST", "/links", Some(&body));

        let second = app.api("POST", "/links", Some(&body));

        assert_eq!((first.status, second.status), (201, 200), "{} {}", first.body, second.body);
        assert_eq!(first.json(), second.json());
        assert!(first.header("location").is_some() && second.header("location").is_none());
        for (name, value) in [
            ("url", json!("https://example.org/A")), ("title", json!(null)), ("tags", json!([])), ("redirect_status", json!(301)), ("cache_seconds", json!(1)),
            ("forward_query", json!(true)), ("valid_from", json!("2020-01-01T00:00:00Z")), ("expires_at", json!(null)), ("max_clicks", json!(1)),
            ("slug", json!("other")), ("reuse_existing", json!(false)),
        ] {
            let mut other = body.clone();
            other[name] = value;
            assert_eq!(app.api("POST", "/links", Some(&other)).status, 201, "{name}");
        }
        let slug = first.json()["slug"].clone();
        let mut same = body.clone();
        same["slug"] = slug.clone();
        assert_eq!(app.api("POST", "/links", Some(&same)).status, 200);
        let results = bulk(&app, vec![body.clone(), json!({"url": "https://example.org/new", "reuse_existing": true}), json!({"url": "https://example.org/new", "reuse_existing": true})]);
        let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
        assert_eq!((statuses, &results[0]["link"]["slug"]), (vec![200, 201, 200], &slug));
        assert_eq!(results[1]["link"], results[2]["link"]);
        app.clock.advance(Duration::from_secs(3600));
        assert_eq!(app.api("POST", "/links", Some(&json!({"url": "https://example.org/new", "reuse_existing": true}))).status, 200);
    }

    fn another_owners_link_and_one_that_was_taken_down_will_not_do(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);
        let key = key_for(&app, &["links:create"]);
        let body = json!({"url": "https://example.org/a", "reuse_existing": true});
        let first = app.api("POST", "/links", Some(&body)).json();

        assert_eq!(with_key(&app, &key, "POST", "/links", Some(&body)).status, 201);
        assert_eq!(with_key(&app, &key, "POST", "/links", Some(&body)).status, 200);
        assert_eq!(app.send("POST", "/api/v1/links", &[("content-type", "application/json")], body.to_string().as_bytes()).status, 201);
        app.api("PATCH", &format!("/links/{}", first["slug"].as_str().unwrap()), Some(&json!({"disabled": true})));
        assert_ne!(app.api("POST", "/links", Some(&body)).json()["slug"], first["slug"]);
    }

    fn of_many_equal_requests_at_once_one_makes_the_link(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let answers = Mutex::new(Vec::new());

        at_once(40, |n| {
            let app = if n % 2 == 0 { &app } else { &twin };
            let answer = app.api("POST", "/links", Some(&json!({"url": "https://example.org/", "reuse_existing": true})));
            answers.lock().unwrap().push((answer.status, answer.json()["slug"].as_str().unwrap().to_owned()));
        });

        let answers = answers.into_inner().unwrap();
        assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().map(|(_, slug)| slug).collect::<HashSet<_>>().len(), 1);
        assert_eq!(count(&app), 1);
    }

    fn a_request_that_is_sent_again_gets_its_first_answer_on_every_instance(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        for (path, body) in [
            ("/links", json!({"url": "https://example.org/1", "slug": "once"})),
            ("/links", json!({"url": "https://example.org/2", "reuse_existing": true})),
            ("/links/bulk", json!({"links": [{"url": "https://example.org/3"}, {"url": "bad"}, {"url": "https://example.org/4", "slug": "once"}]})),
        ] {
            let name = body.to_string().replace(' ', "");
            let name = &name[..name.len().min(255)];
            let first = named(&app, path, name, &body);
            app.clock.advance(Duration::from_secs(3600));

            let again = named(&twin, path, name, &body);

            assert_eq!((again.status, &again.body), (first.status, &first.body));
            for header in ["location", "content-type", "cache-control"] {
                assert_eq!(again.header(header), first.header(header), "{header}");
            }
            assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
        }
        assert_eq!(count(&app), 3);
    }

    fn another_request_under_the_same_name_is_422(backend) {
        let app = TestApp::start(backend);
        let key = key_for(&app, &["links:create"]);
        let body = json!({"url": "https://example.org/"});
        named(&app, "/links", "n", &body);

        for (path, other) in [("/links", json!({"url": "https://example.org/other"})), ("/links/bulk", json!({"links": [body]}))] {
            let answer = named(&app, path, "n", &other);
            assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("idempotency_mismatch")));
        }

        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json"), ("idempotency-key", "n")];
        let others = app.send("POST", "/api/v1/links", &headers, json!({"url": "https://example.org/other"}).to_string().as_bytes());
        assert_eq!(others.status, 201, "another caller's name is another name");
        assert_eq!(count(&app), 2);
    }

    fn an_answer_is_forgotten_after_24_hours(backend) {
        let app = TestApp::start(backend);
        let body = json!({"url": "https://example.org/"});
        let first = named(&app, "/links", "n", &body).json();

        app.clock.advance(Duration::from_secs(24 * 3600));
        let later = named(&app, "/links", "n", &json!({"url": "https://example.org/later"}));

        assert_eq!(later.status, 201, "{}", later.body);
        assert_ne!(later.json()["slug"], first["slug"]);
        app.clock.advance(Duration::from_secs(24 * 3600));
        named(&app, "/links", "other", &body);
        assert!(!app.database.dump("answers").contains("later"), "an answer that nobody can get is kept");
    }

    /// Callers without an API key once shared one name space: a stranger's key made a request 422, or gave the stranger's link.
    fn names_of_anonymous_callers_are_those_of_their_network(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true"), ("TRUSTED_PROXY_HOPS", "1")]);
        let create = |address: &str, url: &str| {
            let headers = [("content-type", "application/json"), ("idempotency-key", "1"), ("x-forwarded-for", address)];
            app.send("POST", "/api/v1/links", &headers, json!({"url": url}).to_string().as_bytes())
        };

        let first = create("203.0.113.7", "https://example.org/a");
        let again = create("203.0.113.7", "https://example.org/a");
        let stranger = create("203.0.113.8", "https://example.org/a");
        let other = create("2001:db8:1:2::1", "https://example.org/b");
        let neighbour = create("2001:db8:1:2::2", "https://example.org/b");

        assert_eq!((first.status, stranger.status, other.status), (201, 201, 201));
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_ne!(stranger.json()["slug"], first.json()["slug"]);
        assert_eq!(neighbour.body, other.body);
        let mismatch = create("203.0.113.7", "https://example.org/c");
        assert_eq!((mismatch.status, &mismatch.json()["code"]), (422, &json!("idempotency_mismatch")));
        let kept = app.database.dump("answers");
        assert!(!kept.contains("203.0.113") && !kept.contains("2001:db8"), "{kept}");
    }

    fn a_refusal_is_not_remembered(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "mine"}));
        let body = json!({"url": "https://example.org/new", "slug": "mine"});

        named(&app, "/links", "n", &body).assert_problem(409, "slug_taken");
        app.api("DELETE", "/links/mine", None);

        assert_eq!(named(&app, "/links", "n", &body).status, 201);
        for bad in ["", "with space", &"x".repeat(256), "ü"] {
            named(&app, "/links", bad, &body).assert_problem(400, "malformed_header");
        }
        assert_eq!(named(&app, "/links", &"x".repeat(255), &json!({"url": "https://example.org/"})).status, 201);
    }

    /// 1,000 names, five times each, on two instances.
    fn a_thousand_names_five_times_at_once_make_a_thousand_links(backend) {
        let app = TestApp::start_with(backend, &[("DATABASE_POOL_SIZE", "12")]);
        let twin = app.twin(backend, &[("DATABASE_POOL_SIZE", "12")]);
        let bodies: Vec<Mutex<HashSet<String>>> = (0..1000).map(|_| Mutex::default()).collect();

        at_once(5000, |turn| {
            let name = turn / 5;
            let app = if turn % 2 == 0 { &app } else { &twin };
            let answer = named(app, "/links", &format!("name-{name}"), &json!({"url": format!("https://example.org/{name}")}));
            assert_eq!(answer.status, 201, "{}", answer.body);
            bodies[name].lock().unwrap().insert(answer.body);
        });

        assert!(bodies.iter().all(|bodies| bodies.lock().unwrap().len() == 1));
        assert_eq!(count(&app), 1000);
    }
}
