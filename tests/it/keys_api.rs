//! Keys: made, shown once, held to what they are for, revoked.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{Answer, Backend, TestApp};
use crate::on_both_stores;
use crate::poll::wait_until;
use crate::process;

pub fn issue(app: &TestApp, body: Value) -> (String, String) {
    let answer = app.api("POST", "/keys", Some(&body));
    assert_eq!(answer.status, 201, "{}", answer.body);
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

pub fn key_for(app: &TestApp, scopes: &[&str]) -> String {
    issue(app, json!({"name": "a key", "scopes": scopes})).1
}

/// A request of the API with a key.
pub fn with_key(app: &TestApp, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let authorization = format!("Bearer {key}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = body.map(Value::to_string).unwrap_or_default();
    app.send(method, &format!("/api/v1{path}"), &headers, body.as_bytes())
}

const ALL: [&str; 5] = [
    "links:create",
    "links:read",
    "links:write",
    "stats:read",
    "keys:admin",
];

on_both_stores! {
    fn a_key_is_shown_once_and_its_secret_is_kept_nowhere(backend) {
        let app = TestApp::start(backend);

        let answer = app.api("POST", "/keys", Some(&json!({"name": "shop", "scopes": ["links:read", "links:create", "links:read"],
            "own_links_only": true, "expires_at": "2030-01-01T00:00:00Z"})));

        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let issued = answer.json();
        let (id, key) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
        assert!(key.starts_with("ctl_") && key.len() == 36 && key[4..].bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
        let expected = json!({"id": id, "name": "shop", "scopes": ["links:create", "links:read"], "own_links_only": true,
            "expires_at": "2030-01-01T00:00:00Z", "created_at": "2026-11-21T02:00:00Z", "key": key});
        assert_eq!(issued, expected);
        let listed = app.api("GET", "/keys", None);
        let mut shown = expected;
        shown.as_object_mut().unwrap().remove("key");
        shown["last_used_at"] = json!(null);
        assert_eq!(listed.json(), json!({"keys": [shown], "next_cursor": null}));
        assert!(!app.database.dump("api_keys").contains(&key[4..]), "the database holds the key");
    }

    fn keys_are_listed_a_page_at_a_time_newest_first(backend) {
        let app = TestApp::start(backend);
        let mut made: Vec<String> = Vec::new();
        for number in 0..55 {
            // Several have one time.
            if number % 3 == 0 {
                app.clock.advance(Duration::from_secs(1));
            }
            made.push(issue(&app, json!({"name": format!("key {number}"), "scopes": ["links:read"]})).0);
        }
        let page = |query: &str| {
            let answer = app.api("GET", &format!("/keys?{query}"), None);
            assert_eq!(answer.status, 200, "{}", answer.body);
            let body = answer.json();
            let ids = body["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned());
            (ids.collect::<Vec<_>>(), body["next_cursor"].as_str().map(str::to_owned))
        };

        let (first, next) = page("");
        let (second, end) = page(&format!("cursor={}", next.unwrap()));
        let mut walked = Vec::new();
        let mut query = "limit=7".to_owned();
        loop {
            let (ids, next) = page(&query);
            walked.extend(ids);
            let Some(next) = next else { break };
            query = format!("limit=7&cursor={next}");
        }

        assert_eq!((first.len(), second.len(), end), (50, 5, None));
        assert_eq!(walked, [first, second].concat());
        let (mut all, mut sorted) = (walked.clone(), made.clone());
        all.sort();
        sorted.sort();
        assert_eq!(all, sorted);
        let second_of = |id: &String| made.iter().position(|other| other == id).unwrap() / 3;
        assert!(walked.iter().map(second_of).rev().is_sorted(), "{walked:?}");
        for wrong in ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=", "more=1"] {
            app.api("GET", &format!("/keys?{wrong}"), None).assert_problem(400, "malformed_query");
        }
        let settings = [("DATABASE_URL", app.database.url())];
        let listed = process::command(&settings).args(["keys", "list"]).output().unwrap();
        let lines = String::from_utf8(listed.stdout).unwrap().lines().count();
        assert_eq!(lines, 56);
    }

    fn a_key_does_what_its_scopes_say_and_nothing_else(backend) {
        let app = TestApp::start(backend);
        let requests = [
            ("POST", "/links", Some(json!({"url": "https://example.org/"})), "links:create", 201),
            ("GET", "/links/kept", None, "links:read", 200),
            ("GET", "/links", None, "links:read", 200),
            ("PATCH", "/links/kept", Some(json!({})), "links:write", 200),
            ("GET", "/links/kept/stats", None, "stats:read", 200),
            ("GET", "/keys", None, "keys:admin", 200),
            ("POST", "/keys", Some(json!({"name": "n", "scopes": ["links:read"]})), "keys:admin", 201),
            ("DELETE", "/keys/nothing", None, "keys:admin", 404),
            ("DELETE", "/links/kept", None, "links:write", 204),
        ];
        for scope in ALL {
            let _ = app.api("POST", "/links", Some(&json!({"url": "https://example.org/", "slug": "kept"})));
            let key = key_for(&app, &[scope]);
            for (method, path, body, needed, status) in &requests {
                let answer = with_key(&app, &key, method, path, body.as_ref());

                if scope == *needed {
                    assert_eq!(answer.status, *status, "{scope} {method} {path}: {}", answer.body);
                } else {
                    answer.assert_problem(403, "insufficient_scope");
                }
            }
        }
    }

    fn a_revoked_key_is_refused_at_once_here_and_within_5_seconds_elsewhere(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let (id, key) = issue(&app, json!({"name": "n", "scopes": ["links:read"]}));
        for instance in [&app, &twin] {
            assert_eq!(with_key(instance, &key, "GET", "/links", None).status, 200);
        }

        let answer = app.api("DELETE", &format!("/keys/{id}"), None);

        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        with_key(&app, &key, "GET", "/links", None).assert_problem(401, "unauthenticated");
        app.clock.advance(Duration::from_secs(5));
        with_key(&twin, &key, "GET", "/links", None).assert_problem(401, "unauthenticated");
        app.api("DELETE", &format!("/keys/{id}"), None).assert_problem(404, "key_not_found");
        app.api("DELETE", "/keys/%20", None).assert_problem(404, "key_not_found");
    }

    fn a_key_ends_when_it_expires(backend) {
        let app = TestApp::start(backend);
        let (_, key) = issue(&app, json!({"name": "n", "scopes": ["links:read"], "expires_at": "2026-11-21T02:00:02Z"}));
        assert_eq!(with_key(&app, &key, "GET", "/links", None).status, 200);

        app.clock.advance(Duration::from_secs(2));

        with_key(&app, &key, "GET", "/links", None).assert_problem(401, "unauthenticated");
    }

    fn keys_that_were_never_issued_are_refused(backend) {
        let app = TestApp::start(backend);
        let key = key_for(&app, &["links:read"]);
        let mut other = key.clone().into_bytes();
        other[20] = if other[20] == b'a' { b'b' } else { b'a' };
        let other = String::from_utf8(other).unwrap();

        for wrong in [other.as_str(), &key[..35], &key[4..], "ctl_", &key.to_uppercase(), &format!("{key}a"), &key.replace("ctl_", "ctl-")] {
            with_key(&app, wrong, "GET", "/links", None).assert_problem(401, "unauthenticated");
        }
    }

    fn the_last_use_of_a_key_is_known_to_the_hour(backend) {
        let app = TestApp::start(backend);
        let key = key_for(&app, &["links:read"]);
        let last = || app.api("GET", "/keys", None).json()["keys"][0]["last_used_at"].clone();
        // No request waits until its hour is noted.
        let noted = |hour: &str| wait_until(hour, || last() == hour);

        app.clock.advance(Duration::from_secs(1800));
        with_key(&app, &key, "GET", "/links", None);
        noted("2026-11-21T02:00:00Z");
        app.clock.advance(Duration::from_secs(3600));
        with_key(&app, &key, "GET", "/links", None);

        noted("2026-11-21T03:00:00Z");
    }

    fn a_key_held_to_its_own_links_sees_and_changes_no_others(backend) {
        let app = TestApp::start(backend);
        let scopes = ["links:create", "links:read", "links:write", "stats:read"];
        let (own, other) = (
            issue(&app, json!({"name": "own", "scopes": scopes, "own_links_only": true})).1,
            issue(&app, json!({"name": "other", "scopes": scopes})).1,
        );
        let body = |slug: &str| json!({"url": "https://example.org/", "slug": slug, "tags": ["t"]});
        for (key, slug) in [(&own, "mine"), (&other, "theirs")] {
            assert_eq!(with_key(&app, key, "POST", "/links", Some(&body(slug))).status, 201);
        }
        app.create(body("admins"));
        assert_eq!(with_key(&app, &own, "GET", "/links/mine/stats", None).status, 200);
        with_key(&app, &own, "GET", "/links/theirs/stats", None).assert_problem(404, "link_not_found");

        for slug in ["theirs", "admins"] {
            let path = format!("/links/{slug}");
            with_key(&app, &own, "GET", &path, None).assert_problem(404, "link_not_found");
            with_key(&app, &own, "PATCH", &path, Some(&json!({"title": "x"}))).assert_problem(404, "link_not_found");
            with_key(&app, &own, "DELETE", &path, None).assert_problem(404, "link_not_found");
        }
        for query in ["", "?q=example", "?tag=t", "?state=live", "?q=ex"] {
            let answer = with_key(&app, &own, "GET", &format!("/links{query}"), None).json();
            let links = answer["links"].as_array().unwrap();
            assert_eq!(links.len(), 1, "{query}");
            assert_eq!(links[0]["slug"], "mine");
        }
        assert_eq!(with_key(&app, &own, "PATCH", "/links/mine", Some(&json!({"title": "x"}))).status, 200);
        assert_eq!(with_key(&app, &own, "DELETE", "/links/mine", None).status, 204);
        assert_eq!(with_key(&app, &other, "GET", "/links", None).json()["links"].as_array().unwrap().len(), 2);
        assert_eq!(with_key(&app, &other, "DELETE", "/links/admins", None).status, 204);
        assert_eq!(app.get("/theirs").status, 302);
    }

    fn every_fault_of_a_new_key_is_named_at_once(backend) {
        let app = TestApp::start(backend);
        let good = ["links:read"];
        let rows = [
            (json!({}), vec!["/name missing", "/scopes missing"]),
            (json!({"name": null, "scopes": good}), vec!["/name wrong_type"]),
            (json!({"name": " ", "scopes": good}), vec!["/name out_of_range"]),
            (json!({"name": "x".repeat(201), "scopes": good}), vec!["/name too_long"]),
            (json!({"name": "a\0", "scopes": good}), vec!["/name out_of_range"]),
            (json!({"name": "n", "scopes": []}), vec!["/scopes out_of_range"]),
            (json!({"name": "n", "scopes": ["links:read", "bogus"]}), vec!["/scopes/1 out_of_range"]),
            (json!({"name": "n", "scopes": "links:read"}), vec!["/scopes wrong_type"]),
            (json!({"name": "n", "scopes": good, "expires_at": "2026-11-21T02:00:00Z"}), vec!["/expires_at out_of_range"]),
            (json!({"name": "n", "scopes": good, "key": "ctl_x", "id": "x"}), vec!["/id unknown_field", "/key unknown_field"]),
            (json!({"name": "n", "scopes": ["keys:admin"], "own_links_only": true}), vec!["/own_links_only out_of_range"]),
            (json!([]), vec![" wrong_type"]),
        ];
        for (body, expected) in rows {
            let answer = app.api("POST", "/keys", Some(&body));

            answer.assert_problem(422, "invalid_key");
            let mut found = answer.faults();
            found.sort();
            assert_eq!(found, expected, "{body}");
        }
        assert_eq!(app.api("GET", "/keys", None).json()["keys"], json!([]));
    }

    fn keys_are_made_listed_and_revoked_on_the_command_line(backend) {
        let app = TestApp::start(backend);
        let run = |arguments: &[&str]| -> Output {
            let settings = [("DATABASE_URL", app.database.url())];
            process::command(&settings).arg("keys").args(arguments).output().unwrap()
        };
        let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();

        let made = run(&["create", "--name", "cli", "--scope", "links:read"]);

        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = text(&made).trim().to_owned();
        assert_eq!(with_key(&app, &key, "GET", "/links", None).status, 200);
        let listed = text(&run(&["list"]));
        let id = app.api("GET", "/keys", None).json()["keys"][0]["id"].as_str().unwrap().to_owned();
        assert!(listed.contains(&id) && listed.contains("links:read") && !listed.contains(&key[4..]), "{listed}");
        let refused = run(&["create", "--name", "cli", "--scope", "bogus"]);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("a scope is one of"));
        assert!(run(&["revoke", &id]).status.success());
        app.clock.advance(Duration::from_secs(5));
        with_key(&app, &key, "GET", "/links", None).assert_problem(401, "unauthenticated");
        assert!(!run(&["revoke", &id]).status.success());
    }
}

/// A request that read once waited, for up to 2.5 seconds and for each request anew, until the use of its key was written down.
#[test]
fn a_read_waits_for_no_write() {
    let app = TestApp::start(Backend::Postgres);
    let key = key_for(&app, &["links:read"]);
    let took = std::thread::scope(|scope| {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (held, holder) = std::sync::mpsc::channel::<()>();
        let database = std::sync::Arc::clone(&app.database);
        scope.spawn(move || {
            held.send(()).unwrap();
            database.hold("LOCK TABLE api_keys IN SHARE MODE", &released);
        });
        holder.recv().unwrap();
        while app.database.number("SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND granted AND relation = 'api_keys'::regclass") == 0 {}

        let begun = Instant::now();
        let readers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| with_key(&app, &key, "GET", "/links/absent", None).status))
            .collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 404);
        }
        let took = begun.elapsed();
        release.send(()).unwrap();
        took
    });

    assert!(took < Duration::from_millis(900), "{took:?}");
}
