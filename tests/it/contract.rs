//! Rows of the HTTP contract that no other file asks for.

use std::collections::BTreeSet;

use curtail::domain::Slug;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::on_both_stores;

/// What is wrong with a new link, by pointer and code.
fn faults(app: &TestApp, body: &Value) -> Vec<String> {
    let answer = app.api("POST", "/links", Some(body));
    answer.assert_problem(422, "invalid_link");
    answer.faults()
}

on_both_stores! {
    fn every_fault_of_a_target_has_its_code(backend) {
        let app = TestApp::start_with(backend, &[("BLOCKED_DOMAINS", "evil.example"), ("OWN_HOSTS", "s.example.net")]);
        let long = format!("https://example.org/{}", "a".repeat(8192));
        let rows = [
            ("example.org", "invalid_url"), ("https://", "invalid_url"), ("https://exa mple.org/", "invalid_url"), ("https://https://example.org/", "invalid_url"),
            ("https://example.org/\nx", "invalid_url"), ("https://example.org/\u{7f}", "invalid_url"), ("ftp://example.org/", "scheme_not_allowed"),
            ("javascript:alert(1)", "scheme_not_allowed"), ("https://user@example.org/", "userinfo_not_allowed"), ("https://u:p@example.org/", "userinfo_not_allowed"),
            ("http://a..b/", "host_not_allowed"), ("http://10.1/", "host_not_allowed"), ("http://[::ffff:10.0.0.1]/", "host_not_allowed"),
            ("http://metadata.google.internal/", "host_not_allowed"), ("http://169.254.169.254/", "host_not_allowed"), ("https://S.example.net/x", "own_host"),
            ("https://a.evil.example/", "blocked_domain"), (long.as_str(), "too_long"),
        ];
        for (url, code) in rows {
            assert_eq!(faults(&app, &json!({"url": url})), [format!("/url {code}")], "{url:?}");
            let changed = app.api("PATCH", "/links/nothing", Some(&json!({"url": url})));
            assert_eq!((changed.status, changed.faults()), (422, vec![format!("/url {code}")]), "{url:?}");
        }
        let longest = format!("https://example.org/{}", "a".repeat(8192 - 20));
        assert_eq!(app.create(json!({"url": longest}))["url"], longest.as_str());
        assert_eq!(app.create(json!({"url": "HTTPS://Bücher.example:443/ä"}))["url"], "https://xn--bcher-kva.example/%C3%A4");
    }

    fn private_targets_are_accepted_if_they_are_allowed(backend) {
        let app = TestApp::start_with(backend, &[("ALLOW_PRIVATE_TARGETS", "true")]);

        let link = app.create(json!({"url": "http://10.0.0.1:3000/", "slug": "intern"}));

        assert_eq!(link["url"], "http://10.0.0.1:3000/");
        assert_eq!(app.get("/intern").header("location"), Some("http://10.0.0.1:3000/"));
    }

    fn no_reserved_word_is_a_slug(backend) {
        let app = TestApp::start(backend);
        let named: BTreeSet<&str> = Slug::RESERVED.into_iter().collect();
        let promised = ["_ah", "eventlog", "admin", "login", "assets", "static", "well-known", "api", "app", "health", "version"];

        for word in named.union(&promised.into_iter().collect()) {
            assert_eq!(faults(&app, &json!({"url": "https://example.org/", "slug": word})), ["/slug slug_reserved"], "{word}");
        }
        for slug in ["", "a b", "ä", "a/b", "robots.txt", "yourls-api.php", &"x".repeat(65)] {
            assert_eq!(faults(&app, &json!({"url": "https://example.org/", "slug": slug})), ["/slug slug_invalid"], "{slug}");
        }
        assert_eq!(app.create(json!({"url": "https://example.org/", "slug": "API"}))["slug"], "API");
        assert_eq!(app.create(json!({"url": "https://example.org/", "slug": "x".repeat(64)}))["slug"], "x".repeat(64));
    }

    fn on_cloud_run_no_slug_ends_in_z(backend) {
        let app = TestApp::start_with(backend, &[("K_SERVICE", "curtail"), ("ALLOW_EPHEMERAL_STORE", "true")]);

        let answer = app.api("POST", "/links", Some(&json!({"url": "https://example.org/", "slug": "quiz"})));

        let problem = answer.assert_problem(422, "invalid_link");
        assert_eq!(answer.faults(), ["/slug slug_reserved"]);
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("Cloud Run"));
        assert_eq!(TestApp::start(backend).create(json!({"url": "https://example.org/", "slug": "quiz"}))["slug"], "quiz");
    }

    fn generated_slugs_have_the_length_of_the_settings_and_no_look_alikes(backend) {
        let app = TestApp::start_with(backend, &[("SLUG_LENGTH", "12")]);
        let links: Vec<Value> = (0..500).map(|n| json!({"url": format!("https://example.org/{n}")})).collect();

        let results = app.api("POST", "/links/bulk", Some(&json!({"links": links}))).json();

        for result in results["results"].as_array().unwrap() {
            let slug = result["link"]["slug"].as_str().unwrap();
            assert_eq!(slug.len(), 12, "{slug}");
            assert!(!slug.ends_with('z') && !slug.contains(['0', 'O', 'I', 'l']), "{slug}");
        }
    }

    fn the_limits_of_title_and_tags_are_those_of_the_contract(backend) {
        let app = TestApp::start(backend);
        let with = |name: &str, value: Value| { let mut body = json!({"url": "https://example.org/"}); body[name] = value; body };

        for (name, good, bad) in [
            ("title", json!("ü".repeat(200)), json!("ü".repeat(201))), ("tags", json!(vec!["t"; 16]), json!(vec!["t"; 17])),
            ("tags", json!(["ü".repeat(64)]), json!(["ü".repeat(65)])), ("length", json!(5), json!(4)), ("length", json!(32), json!(33)),
            ("max_clicks", json!(1), json!(0)), ("redirect_status", json!(308), json!(303)), ("cache_seconds", json!(0), json!(-1)),
        ] {
            assert_eq!(app.api("POST", "/links", Some(&with(name, good.clone()))).status, 201, "{name} {good}");
            assert!(faults(&app, &with(name, bad.clone()))[0].starts_with(&format!("/{name}")), "{name} {bad}");
        }
    }

    fn reading_by_head_has_the_answer_of_get_without_its_body(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));

        for path in ["/links", "/links/kept", "/links/kept/stats", "/keys", "/links/nothing"] {
            let (get, head) = (app.api("GET", path, None), app.api("HEAD", path, None));
            assert_eq!((head.status, head.header("content-type"), head.body.as_str()), (get.status, get.header("content-type"), ""), "{path}");
        }
    }
}
