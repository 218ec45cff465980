//! Sections 2 and 3 of the contract, as far as single links go.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, TestApp};
use crate::on_both_stores;

fn post(app: &TestApp, body: Value) -> crate::app::Answer {
    app.api("POST", "/links", Some(&body))
}

on_both_stores! {
    fn a_link_is_made_with_its_defaults(backend) {
        let app = TestApp::start(backend);

        let answer = post(&app, json!({"url": "HTTPS://Example.org"}));

        assert_eq!(answer.status, 201);
        let link = answer.json();
        let slug = link["slug"].as_str().unwrap();
        assert_eq!(slug.len(), 7);
        assert_eq!(answer.header("location"), Some(format!("/api/v1/links/{slug}").as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let expected = json!({
            "slug": slug, "short_url": app.url(&format!("/{slug}")), "url": "https://example.org/", "title": null, "tags": [],
            "redirect_status": 302, "cache_seconds": null, "forward_query": false, "valid_from": null,
            "expires_at": null, "max_clicks": null, "disabled": false, "clicks": 0,
            "created_at": "2026-11-21T02:00:00Z", "updated_at": "2026-11-21T02:00:00Z",
        });
        assert_eq!(link, expected);
        assert_eq!(app.api("GET", &format!("/links/{slug}"), None).json(), expected);
    }

    fn a_link_is_made_with_every_field(backend) {
        let app = TestApp::start(backend);
        let body = json!({
            "url": "https://example.org/a", "slug": "Every_field-1", "title": "Ünïcode 😀 \"quoted\" 'title'", "tags": ["a", "ß", "a,b"],
            "redirect_status": 308, "cache_seconds": 0, "forward_query": true, "valid_from": "2026-11-21T01:00:00.123456Z",
            "expires_at": "2030-01-01T00:00:00+01:00", "max_clicks": 9_223_372_036_854_775_807_i64,
        });

        let link = app.create(body.clone());

        for (name, value) in body.as_object().unwrap() {
            if name != "expires_at" {
                assert_eq!(link[name], *value, "{name}");
            }
        }
        assert_eq!(link["expires_at"], "2029-12-31T23:00:00Z");
        assert_eq!(app.api("GET", "/links/Every_field-1", None).json(), link);
    }

    fn a_generated_slug_has_the_length_that_was_asked_for(backend) {
        let app = TestApp::start(backend);
        for length in [5, 32] {
            let link = app.create(json!({"url": "https://example.org/", "length": length}));
            assert_eq!(link["slug"].as_str().unwrap().len(), length);
        }
    }

    fn collisions_are_tried_again_and_then_longer(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "taken11"}));
        app.slugs.script(&["taken11", "taken11", "taken11", "free1111"]);

        let link = app.create(json!({"url": "https://example.org/"}));

        assert_eq!(link["slug"], "free1111");
        assert_eq!(*app.slugs.lengths.lock().unwrap(), [7, 7, 7, 8]);
    }

    fn five_collisions_in_a_row_give_up_without_a_lie(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "taken11"}));
        app.slugs.script(&["taken11"; 5]);

        let answer = post(&app, json!({"url": "https://example.org/"}));

        answer.assert_problem(503, "no_free_slug");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    fn a_taken_slug_is_409_and_the_first_link_stands(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/first", "slug": "mine"}));

        post(&app, json!({"url": "https://example.org/second", "slug": "mine"})).assert_problem(409, "slug_taken");

        assert_eq!(app.get("/mine").header("location"), Some("https://example.org/first"));
    }

    /// Changes of one link by many clients at once had run out of tries, and were 503.
    fn changes_of_one_link_at_once_are_all_made(backend) {
        let app = TestApp::start_with(backend, &[("DATABASE_POOL_SIZE", "32")]);
        app.create(json!({"url": "https://example.org/", "slug": "busy"}));
        let change = |n: usize| app.api("PATCH", "/links/busy", Some(&json!({"title": format!("{n}")}))).status;

        let statuses: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || [change(n), change(n), change(n)])).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });

        assert_eq!(statuses, [200; 24]);
    }

    fn two_creates_of_one_slug_at_once_make_one_link(backend) {
        let app = TestApp::start(backend);
        for round in 0..10 {
            let body = json!({"url": "https://example.org/", "slug": format!("race-{round}")});
            let mut statuses = std::thread::scope(|scope| {
                let tasks: Vec<_> = (0..4).map(|_| scope.spawn(|| post(&app, body.clone()).status)).collect();
                tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
            });
            statuses.sort_unstable();

            assert_eq!(statuses, [201, 409, 409, 409]);
        }
    }

    fn every_fault_of_a_new_link_is_named_at_once(backend) {
        let app = TestApp::start(backend);
        let rows = [
            (json!({}), vec!["/url missing"]),
            (json!({"url": null}), vec!["/url wrong_type"]),
            (json!({"url": 5}), vec!["/url wrong_type"]),
            (json!({"url": ["https://example.org/"]}), vec!["/url wrong_type"]),
            (json!([]), vec![" wrong_type"]),
            (json!("https://example.org/"), vec![" wrong_type"]),
            (json!(null), vec![" wrong_type"]),
            (json!({"url": "https://example.org/", "target": "x", "a/b~c": 1}), vec!["/a~1b~0c unknown_field", "/target unknown_field"]),
            (json!({"url": "https://example.org/", "disabled": true}), vec!["/disabled unknown_field"]),
            (json!({"url": "https://example.org/", "clicks": 1}), vec!["/clicks unknown_field"]),
            (json!({"url": "https://example.org/", "length": 4}), vec!["/length out_of_range"]),
            (json!({"url": "https://example.org/", "length": 33}), vec!["/length out_of_range"]),
            (json!({"url": "https://example.org/", "length": 7.5}), vec!["/length wrong_type"]),
            (json!({"url": "https://example.org/", "length": "7"}), vec!["/length wrong_type"]),
            (json!({"url": "https://example.org/", "title": "x".repeat(201)}), vec!["/title too_long"]),
            (json!({"url": "https://example.org/", "title": "a\0b"}), vec!["/title out_of_range"]),
            (json!({"url": "https://example.org/", "tags": vec!["x"; 17]}), vec!["/tags too_long"]),
            (json!({"url": "https://example.org/", "tags": ["ok", "x".repeat(65)]}), vec!["/tags/1 too_long"]),
            (json!({"url": "https://example.org/", "tags": [""]}), vec!["/tags/0 out_of_range"]),
            (json!({"url": "https://example.org/", "tags": "a"}), vec!["/tags wrong_type"]),
            (json!({"url": "https://example.org/", "tags": [1]}), vec!["/tags wrong_type"]),
            (json!({"url": "https://example.org/", "redirect_status": 303}), vec!["/redirect_status out_of_range"]),
            (json!({"url": "https://example.org/", "redirect_status": 200}), vec!["/redirect_status out_of_range"]),
            (json!({"url": "https://example.org/", "cache_seconds": -1}), vec!["/cache_seconds out_of_range"]),
            (json!({"url": "https://example.org/", "cache_seconds": 31_536_001}), vec!["/cache_seconds out_of_range"]),
            (json!({"url": "https://example.org/", "forward_query": "yes"}), vec!["/forward_query wrong_type"]),
            (json!({"url": "https://example.org/", "max_clicks": 0}), vec!["/max_clicks out_of_range"]),
            (json!({"url": "https://example.org/", "max_clicks": 18_446_744_073_709_551_615_u64}), vec!["/max_clicks out_of_range"]),
            (json!({"url": "https://example.org/", "expires_at": "tomorrow"}), vec!["/expires_at wrong_type"]),
            (json!({"url": "https://example.org/", "expires_at": 1_800_000_000}), vec!["/expires_at wrong_type"]),
            (json!({"url": "https://example.org/", "expires_at": "2026-11-21"}), vec!["/expires_at wrong_type"]),
            (json!({"url": "https://example.org/", "expires_at": "2026-11-21T02:00:00"}), vec!["/expires_at wrong_type"]),
            (json!({"url": "https://example.org/", "expires_at": "2026-11-21T02:00:00+01:00[Europe/Berlin]"}), vec!["/expires_at wrong_type"]),
            (json!({"url": "https://example.org/", "expires_at": "1969-12-31T23:59:59Z"}), vec!["/expires_at out_of_range"]),
            (json!({"url": "https://example.org/", "valid_from": "2027-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}), vec!["/expires_at time_order"]),
            (json!({"url": "https://example.org/", "slug": ""}), vec!["/slug slug_invalid"]),
            (json!({"url": "https://example.org/", "slug": "a b"}), vec!["/slug slug_invalid"]),
            (json!({"url": "https://example.org/", "slug": "a".repeat(65)}), vec!["/slug slug_invalid"]),
            (json!({"url": "https://example.org/", "slug": "api"}), vec!["/slug slug_reserved"]),
            (json!({"url": "https://example.org/", "slug": "_ah"}), vec!["/slug slug_reserved"]),
            (json!({"url": "javascript:alert(1)", "slug": "a b", "length": 1}), vec!["/url scheme_not_allowed", "/slug slug_invalid", "/length out_of_range"]),
            (json!({"url": 1, "title": 2, "bogus": 3}), vec!["/url wrong_type", "/title wrong_type", "/bogus unknown_field"]),
        ];
        for (body, expected) in rows {
            let answer = post(&app, body.clone());

            answer.assert_problem(422, "invalid_link");
            assert_eq!(answer.faults(), expected, "{body}");
        }
    }

    fn a_target_at_the_services_own_host_is_refused(backend) {
        let app = TestApp::start_with(backend, &[
            ("BASE_URL", "https://go.example.com"), ("OWN_HOSTS", "s.example.net"), ("BLOCKED_DOMAINS", "evil.example,BÖSE.example"),
        ]);
        let rows = [
            ("https://go.example.com/x", "/url own_host"), ("http://s.example.net/", "/url own_host"),
            ("http://127.0.0.1:1/", "/url own_host"), ("https://a.evil.example/", "/url blocked_domain"),
            ("https://böse.example/", "/url blocked_domain"), ("http://10.1.2.3/", "/url host_not_allowed"),
        ];
        for (url, fault) in rows {
            let answer = post(&app, json!({"url": url}));

            answer.assert_problem(422, "invalid_link");
            assert_eq!(answer.faults(), [fault], "{url}");
        }
        assert!(app.create(json!({"url": "https://example.org/"}))["short_url"].as_str().unwrap().starts_with("https://go.example.com/"));
    }

    fn bodies_that_are_no_json_are_refused(backend) {
        let app = TestApp::start(backend);
        let key = format!("Bearer {ADMIN_KEY}");
        let send = |kind: Option<&str>, body: &[u8]| {
            let mut headers = vec![("authorization", key.as_str())];
            headers.extend(kind.map(|kind| ("content-type", kind)));
            app.send("POST", "/api/v1/links", &headers, body)
        };
        let nested = "[".repeat(10_000);
        for body in ["{", "{\"url\":}", "{}\u{feff}", "{'url':1}", "{\"url\":\"\\ud800\"}", "nul", nested.as_str(), "{} {}"] {
            send(Some("application/json"), body.as_bytes()).assert_problem(400, "malformed_json");
        }
        send(Some("application/json"), b"{\"url\":\"\xff\"}").assert_problem(400, "malformed_json");
        for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("text/json")] {
            send(kind, b"{}").assert_problem(415, "unsupported_media_type");
        }
        assert_eq!(send(Some("Application/JSON; charset=utf-8"), b"{\"url\":\"https://example.org/\"}").status, 201);
        send(None, b"").assert_problem(415, "unsupported_media_type");
        send(Some("application/json"), b"").assert_problem(400, "malformed_json");
    }

    fn a_body_of_64_kib_is_read_and_one_byte_more_is_413(backend) {
        let app = TestApp::start(backend);
        let body = |length: usize| {
            let start = "{\"url\":\"https://example.org/\"";
            format!("{start}{}}}", " ".repeat(length - start.len() - 1))
        };
        let key = format!("Bearer {ADMIN_KEY}");
        let send = |body: String| {
            app.send("POST", "/api/v1/links", &[("authorization", key.as_str()), ("content-type", "application/json")], body.as_bytes())
        };

        assert_eq!(send(body(64 * 1024)).status, 201);
        send(body(64 * 1024 + 1)).assert_problem(413, "body_too_large");
    }

    fn without_a_valid_key_nothing_is_done(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));
        let wrong = ["", "Bearer", "Bearer ", "Bearer wrong", "Basic dGVzdDp0ZXN0", ADMIN_KEY, &format!("Bearer {ADMIN_KEY}x"), &format!("Bearer {}", &ADMIN_KEY[1..])];
        let requests = [("POST", "/api/v1/links"), ("GET", "/api/v1/links/kept"), ("PATCH", "/api/v1/links/kept"), ("DELETE", "/api/v1/links/kept")];
        for (method, path) in requests {
            for value in wrong {
                let headers = [("authorization", value), ("content-type", "application/json")];
                let answer = app.send(method, path, &headers, b"{\"url\":\"https://example.org/\"}");

                answer.assert_problem(401, "unauthenticated");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
            app.send(method, path, &[("content-type", "application/json")], b"{}").assert_problem(401, "unauthenticated");
        }
        assert_eq!(app.get("/kept").status, 302);
        assert_eq!(app.send("GET", "/api/v1/links/kept", &[("authorization", &format!("bearer {ADMIN_KEY}"))], b"").status, 200);
    }

    fn anonymous_create_makes_links_and_nothing_else(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);
        let json_type = [("content-type", "application/json")];

        let answer = app.send("POST", "/api/v1/links", &json_type, b"{\"url\":\"https://example.org/\",\"slug\":\"anon\"}");

        assert_eq!(answer.status, 201);
        app.send("GET", "/api/v1/links/anon", &[], b"").assert_problem(401, "unauthenticated");
        app.send("DELETE", "/api/v1/links/anon", &[], b"").assert_problem(401, "unauthenticated");
    }

    fn a_patch_changes_what_it_names_and_null_clears(backend) {
        let app = TestApp::start(backend);
        let before = app.create(json!({"url": "https://example.org/", "slug": "edit", "title": "t", "tags": ["a"], "redirect_status": 301,
            "cache_seconds": 9, "forward_query": true, "expires_at": "2030-01-01T00:00:00Z", "max_clicks": 5}));
        app.clock.advance(std::time::Duration::from_secs(60));

        let kept = app.api("PATCH", "/links/edit", Some(&json!({}))).json();
        let titled = app.api("PATCH", "/links/edit", Some(&json!({"title": "new"}))).json();
        let cleared = app.api("PATCH", "/links/edit", Some(&json!({"title": null, "tags": null, "redirect_status": null,
            "cache_seconds": null, "forward_query": null, "expires_at": null, "max_clicks": null}))).json();

        assert_eq!(kept["title"], "t");
        assert_eq!(kept["updated_at"], "2026-11-21T02:01:00Z");
        assert_eq!(titled["title"], "new");
        for (name, value) in before.as_object().unwrap() {
            if !["title", "updated_at"].contains(&name.as_str()) {
                assert_eq!(titled[name], *value, "{name}");
            }
        }
        let expected = json!({"slug": "edit", "short_url": app.url("/edit"), "url": "https://example.org/", "title": null, "tags": [],
            "redirect_status": 302, "cache_seconds": null, "forward_query": false, "valid_from": null, "expires_at": null,
            "max_clicks": null, "disabled": false, "clicks": 0, "created_at": "2026-11-21T02:00:00Z", "updated_at": "2026-11-21T02:01:00Z"});
        assert_eq!(cleared, expected);
        assert_eq!(app.api("GET", "/links/edit", None).json(), expected);
    }

    fn a_bad_patch_changes_nothing(backend) {
        let app = TestApp::start(backend);
        let before = app.create(json!({"url": "https://example.org/", "slug": "fixed", "expires_at": "2027-01-01T00:00:00Z"}));
        let rows = [
            (json!({"slug": "other"}), vec!["/slug unknown_field"]),
            (json!({"url": null}), vec!["/url wrong_type"]),
            (json!({"url": "ftp://x.example"}), vec!["/url scheme_not_allowed"]),
            (json!({"valid_from": "2028-01-01T00:00:00Z"}), vec!["/expires_at time_order"]),
            (json!({"disabled": "yes"}), vec!["/disabled wrong_type"]),
            (json!({"max_clicks": 0, "title": 1}), vec!["/title wrong_type"]),
            (json!([{"op": "replace"}]), vec![" wrong_type"]),
            (json!({"created_at": "2020-01-01T00:00:00Z"}), vec!["/created_at unknown_field"]),
        ];
        for (body, expected) in rows {
            let answer = app.api("PATCH", "/links/fixed", Some(&body));

            answer.assert_problem(422, "invalid_patch");
            assert_eq!(answer.faults(), expected, "{body}");
        }
        assert_eq!(app.api("GET", "/links/fixed", None).json(), before);
    }

    fn patches_at_once_are_all_made(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "busy"}));
        let patches = [json!({"title": "t"}), json!({"tags": ["x"]}), json!({"cache_seconds": 7}), json!({"forward_query": true})];

        let statuses = std::thread::scope(|scope| {
            let tasks: Vec<_> = patches.iter().map(|patch| scope.spawn(|| app.api("PATCH", "/links/busy", Some(patch)).status)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
        });

        assert_eq!(statuses, [200; 4]);
        let link = app.api("GET", "/links/busy", None).json();
        assert_eq!((&link["title"], &link["tags"][0], &link["cache_seconds"], &link["forward_query"]), (&json!("t"), &json!("x"), &json!(7), &json!(true)));
    }

    fn a_link_that_is_not_there_is_404_to_the_api(backend) {
        let app = TestApp::start(backend);
        for path in ["/links/nothing", "/links/a.b", "/links/%20", "/links/%F0%9F%98%80"] {
            app.api("GET", path, None).assert_problem(404, "link_not_found");
            app.api("DELETE", path, None).assert_problem(404, "link_not_found");
            app.api("PATCH", path, Some(&json!({}))).assert_problem(404, "link_not_found");
        }
        for path in ["", "/", "/nothing", "/links/a/b", "/links/"] {
            assert_eq!(app.api("GET", path, None).status, 404, "{path}");
        }
    }

    fn a_deleted_link_is_gone_for_good(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "bye"}));

        let answer = app.api("DELETE", "/links/bye", None);

        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        app.api("DELETE", "/links/bye", None).assert_problem(404, "link_not_found");
        app.api("GET", "/links/bye", None).assert_problem(404, "link_not_found");
        app.get("/bye").assert_problem(404, "not_found");
    }

    fn links_are_still_there_after_a_restart(backend) {
        let app = TestApp::start(backend);
        let link = app.create(json!({"url": "https://example.org/", "slug": "lasting"}));
        let database = std::sync::Arc::clone(&app.database);
        let port = app.port;
        app.stop();

        let again = TestApp::start_on(backend, database, &[]);

        assert_ne!(again.port, 0);
        assert_eq!(again.get("/lasting").status, 302);
        let mut kept = again.api("GET", "/links/lasting", None).json();
        kept["short_url"] = json!(format!("http://127.0.0.1:{port}/lasting"));
        assert_eq!(kept, link);
    }

    fn other_methods_of_the_api_are_405(backend) {
        let app = TestApp::start(backend);
        for (method, path, allow) in [("DELETE", "/links", "GET, HEAD, POST"), ("PUT", "/links", "GET, HEAD, POST"), ("POST", "/links/x", "GET, HEAD, PATCH, DELETE")] {
            let answer = app.api(method, path, None);

            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allow));
        }
    }
}
