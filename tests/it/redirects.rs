//! Section 1 of the contract: redirects.

use std::time::Duration;

use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::on_both_stores;

on_both_stores! {
    fn a_live_link_redirects_with_an_empty_body(backend) {
        let app = TestApp::start(backend);
        let link = app.create(json!({"url": "https://example.org/a?b=c#d"}));
        let path = format!("/{}", link["slug"].as_str().unwrap());

        for method in ["GET", "HEAD"] {
            let answer = app.send(method, &path, &[], b"");

            assert_eq!(answer.status, 302);
            assert_eq!(answer.header("location"), Some("https://example.org/a?b=c#d"));
            assert_eq!(answer.header("cache-control"), Some("private, max-age=0"));
            assert_eq!(answer.body, "");
            assert_eq!(answer.header("set-cookie"), None);
            assert_eq!(answer.header("referrer-policy"), None);
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
        }
    }

    fn each_status_has_its_cache_header(backend) {
        let app = TestApp::start(backend);
        let rows = [
            (301, None, "public, max-age=300"),
            (308, Some(60), "public, max-age=60"),
            (302, Some(60), "private, max-age=0"),
            (307, None, "private, max-age=0"),
        ];
        for (status, cache_seconds, expected) in rows {
            let body = json!({"url": "https://example.org/", "redirect_status": status, "cache_seconds": cache_seconds});
            let link = app.create(body);

            let answer = app.get(&format!("/{}", link["slug"].as_str().unwrap()));

            assert_eq!(answer.status, status);
            assert_eq!(answer.header("cache-control"), Some(expected));
        }
    }

    /// A permanent redirect was kept past its end, and one with a click limit was given to everybody by a shared cache.
    fn nothing_that_may_be_kept_outlives_its_link(backend) {
        let app = TestApp::start(backend);
        let soon = json!({"url": "https://example.org/", "slug": "soon", "redirect_status": 301, "expires_at": "2026-11-21T02:00:10Z"});
        let year = json!({"url": "https://example.org/", "slug": "year", "redirect_status": 308, "cache_seconds": 31_536_000,
            "expires_at": "2026-11-21T03:00:00Z"});
        let ever = json!({"url": "https://example.org/", "slug": "ever"});
        for link in [soon, year, ever] {
            app.create(link);
        }
        for status in [301, 302, 307, 308] {
            let slug = format!("limited-{status}");
            app.create(json!({"url": "https://example.org/", "slug": slug, "redirect_status": status, "max_clicks": 9}));
        }
        let caching = |path: &str| {
            let answer = app.get(path);
            assert!(answer.status < 400, "{path}: {}", answer.status);
            answer.header("cache-control").unwrap().to_owned()
        };

        assert_eq!(caching("/soon"), "public, max-age=10");
        assert_eq!(caching("/soon/qr.svg"), "public, max-age=10");
        assert_eq!(caching("/year"), "public, max-age=3600");
        assert_eq!(caching("/year/qr.png"), "public, max-age=3600");
        assert_eq!(caching("/ever/qr.png"), "public, max-age=86400");
        assert_eq!(caching("/year+"), "no-store");
        for status in [301, 302, 307, 308] {
            assert_eq!(caching(&format!("/limited-{status}")), "private, no-store");
            assert_eq!(caching(&format!("/limited-{status}/qr.svg")), "private, no-store");
        }
        app.clock.advance(Duration::from_millis(9_500));
        assert_eq!(caching("/soon"), "public, max-age=0");
        app.clock.advance(Duration::from_millis(500));
        app.get("/soon").assert_problem(410, "link_gone");
    }

    fn an_unknown_slug_is_404_and_each_404_looks_the_same(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "soon", "valid_from": "2030-01-01T00:00:00Z"}));
        let paths = [
            "/nothing", "/soon", "/a.b", "/a/b", "/%20", "/%0d%0aX", "/%00", "/..%2f", "/%F0%9F%98%80", "/nothing+", "/nothing/",
            "/api", "/robots",
        ];
        let without_id = |answer: &crate::app::Answer| answer.body.replace(answer.header("x-request-id").unwrap(), "ID");
        let first = app.get("/never-made");
        first.assert_problem(404, "not_found");
        for path in paths {
            let answer = app.get(path);

            answer.assert_problem(404, "not_found");
            assert_eq!(without_id(&answer), without_id(&first), "{path}");
            assert_eq!(answer.body.len(), first.body.len(), "{path}");
            assert_eq!(answer.header_names(), first.header_names(), "{path}");
        }
    }

    /// A full stop behind a short URL in a sentence made a 404 of it.
    fn what_no_slug_holds_may_stand_behind_one(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/?x=1", "slug": "Abc-1", "forward_query": true}));
        let behind = ["/", ".", ",", ")", ";", "!", "'", "%22", "%3E", "%20", "%0A", "%C2%A0", "%E2%80%8B", ").", "%2F", "%E3%80%82"];
        for behind in behind {
            let answer = app.get(&format!("/Abc-1{behind}?a=b"));

            assert_eq!((answer.status, answer.header("location")), (302, Some("https://example.org/?x=1&a=b")), "{behind}");
            assert_eq!(app.send("HEAD", &format!("/Abc-1{behind}"), &[], b"").status, 302, "{behind}");
        }
        assert_eq!(app.get("//Abc-1").header("location"), Some("https://example.org/?x=1"));
        assert_eq!(app.get("/Abc-1&utm_source=x").header("location"), Some("https://example.org/?x=1&utm_source=x"));
        assert_eq!(app.get("/Abc-1&a=1?b=2").header("location"), Some("https://example.org/?x=1&a=1&b=2"));
        for preview in ["/Abc-1%2B", "/Abc-1%2b", "/Abc-1+."] {
            let page = app.get(preview);
            assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{preview}");
        }

        crate::clicks_api::settle(&app);
        assert_eq!(app.api("GET", "/links/Abc-1", None).json()["clicks"], behind.len() + 3);
        for none in ["/abc-1.", "/Abc-1.html", "/Abc-1/x", "/x/Abc-1.", "/Abc-1%2520", "/docs/x.", "/version/"] {
            app.get(none).assert_problem(404, "not_found");
        }
        app.send("POST", "/Abc-1/", &[], b"").assert_problem(404, "not_found");
        app.send("POST", "/Abc-1.", &[], b"").assert_problem(405, "method_not_allowed");
    }

    fn a_slug_that_is_typed_with_more_is_looked_up_once_and_counts_as_one_miss(backend) {
        let app = TestApp::start_with(backend, &[("MISS_RATE_PER_MINUTE", "3")]);
        let asked = || app.metrics.resolve.absent.get() + app.metrics.resolve.store.get();

        for (at, path) in ["/none-1.", "/none-2/", "/none-3)"].iter().enumerate() {
            app.get(path).assert_problem(404, "not_found");
            assert_eq!(asked(), at as u64 + 1);
        }
        app.get("/none-4.").assert_problem(429, "rate_limited");

        // What can be no slug asks nothing and is no miss.
        let before = asked();
        app.get("/none.html").assert_problem(404, "not_found");
        assert_eq!(asked(), before);
    }

    fn a_slug_of_65_characters_is_404(backend) {
        let app = TestApp::start(backend);
        let longest = "a".repeat(64);
        app.create(json!({"url": "https://example.org/", "slug": longest}));

        assert_eq!(app.get(&format!("/{longest}")).status, 302);
        app.get(&format!("/{longest}a")).assert_problem(404, "not_found");
    }

    fn a_slug_is_matched_by_case_and_after_percent_decoding(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/lower", "slug": "abc-_9"}));

        assert_eq!(app.get("/%61bc-_9").header("location"), Some("https://example.org/lower"));
        assert_eq!(app.get("/abc%2D_9").header("location"), Some("https://example.org/lower"));
        assert_eq!(app.get("/ABC-_9").status, 404);
    }

    fn a_word_that_is_reserved_is_no_slug_in_any_spelling(backend) {
        let app = TestApp::start(backend);

        assert_eq!(app.get("/%76ersion").json(), app.get("/version").json());
        app.send("POST", "/version", &[], b"").assert_problem(405, "method_not_allowed");
        app.get("/admin").assert_problem(404, "not_found");
        app.send("POST", "/admin", &[], b"").assert_problem(405, "method_not_allowed");
    }

    fn an_expired_link_is_410_and_one_not_yet_valid_404(backend) {
        let app = TestApp::start(backend);
        let body = json!({"url": "https://example.org/", "slug": "window",
            "valid_from": "2026-11-21T03:00:00Z", "expires_at": "2026-11-21T04:00:00Z"});
        app.create(body);

        app.get("/window").assert_problem(404, "not_found");
        app.clock.advance(Duration::from_secs(3600));
        assert_eq!(app.get("/window").status, 302);
        app.clock.advance(Duration::from_secs(3599));
        assert_eq!(app.get("/window").status, 302);
        app.clock.advance(Duration::from_secs(1));
        app.get("/window").assert_problem(410, "link_gone");
    }

    fn a_disabled_link_is_410_and_comes_back(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "down"}));
        assert_eq!(app.get("/down").status, 302);

        app.api("PATCH", "/links/down", Some(&json!({"disabled": true})));
        app.get("/down").assert_problem(410, "link_gone");

        app.api("PATCH", "/links/down", Some(&json!({"disabled": false})));
        assert_eq!(app.get("/down").status, 302);
    }

    fn a_click_limit_is_used_up_by_gets_alone(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "two", "max_clicks": 2}));

        for _ in 0..5 {
            assert_eq!(app.send("HEAD", "/two", &[], b"").status, 302);
        }
        assert_eq!(app.get("/two").status, 302);
        assert_eq!(app.get("/two").status, 302);
        app.get("/two").assert_problem(410, "link_gone");
        assert_eq!(app.send("HEAD", "/two", &[], b"").status, 410);
        assert_eq!(app.api("GET", "/links/two", None).json()["clicks"], 2);
    }

    fn a_click_limit_is_exact_over_two_instances(backend) {
        let first = TestApp::start(backend);
        let second = first.twin(backend, &[]);
        first.create(json!({"url": "https://example.org/", "slug": "ten", "max_clicks": 10}));

        let redirects = std::thread::scope(|scope| {
            let ask = |app: &TestApp| (0..10).filter(|_| app.get("/ten").status == 302).count();
            let tasks: Vec<_> = [&first, &second, &first, &second].map(|app| scope.spawn(move || ask(app))).into_iter().collect();
            tasks.into_iter().map(|task| task.join().unwrap()).sum::<usize>()
        });

        assert_eq!(redirects, 10);
    }

    fn a_query_is_forwarded_only_when_the_link_says_so(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/?x=1#f", "slug": "with", "forward_query": true}));
        app.create(json!({"url": "https://example.org/?x=1#f", "slug": "without"}));

        assert_eq!(app.get("/with?a=b&c=%20d").header("location"), Some("https://example.org/?x=1&a=b&c=%20d#f"));
        assert_eq!(app.get("/with").header("location"), Some("https://example.org/?x=1#f"));
        assert_eq!(app.get("/without?a=b").header("location"), Some("https://example.org/?x=1#f"));
    }

    /// `?&x=1` and `?a=1&&x=1` hold an empty name.
    fn a_query_is_appended_to_one_that_ends_openly_without_an_empty_name(backend) {
        let app = TestApp::start(backend);

        for (at, (target, wanted)) in [
            ("https://example.org/?", "https://example.org/?x=1"), ("https://example.org/?a=1&", "https://example.org/?a=1&x=1"),
            ("https://example.org/?a=1", "https://example.org/?a=1&x=1"), ("https://example.org/a&", "https://example.org/a&?x=1"),
            ("https://example.org/?#f", "https://example.org/?x=1#f"), ("https://example.org/?a=1&#f?", "https://example.org/?a=1&x=1#f?"),
        ].into_iter().enumerate() {
            app.create(json!({"url": target, "slug": format!("open{at}"), "forward_query": true}));
            assert_eq!(app.get(&format!("/open{at}?x=1")).header("location"), Some(wanted));
        }
    }

    fn other_methods_are_405(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "read"}));
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            let answer = app.send(method, "/read", &[], b"");

            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }

    fn a_browser_gets_a_page_and_a_client_a_problem(backend) {
        let app = TestApp::start(backend);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let rows = [
            (browser, true),
            ("text/html", true),
            ("text/html, application/json;q=0.5", true),
            ("text/html;q=0.5, application/json", false),
            ("application/problem+json", false),
            ("*/*", false),
            ("text/*", true),
            ("text/html;q=0", false),
            ("text/html;q=0, */*", false),
            ("", false),
            ("garbage;;;", false),
        ];
        for (accept, html) in rows {
            let answer = app.send("GET", "/nothing", &[("accept", accept)], b"");

            assert_eq!(answer.status, 404);
            let kind = if html { "text/html; charset=utf-8" } else { "application/problem+json" };
            assert_eq!(answer.header("content-type"), Some(kind), "{accept:?}");
            assert_eq!(answer.header("content-security-policy").is_some(), html);
            assert_eq!(answer.header("x-frame-options").is_some(), html);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("strict-transport-security"), None);
        }
    }

    fn a_referrer_policy_is_sent_when_it_is_set(backend) {
        let app = TestApp::start_with(backend, &[("REFERRER_POLICY", "no-referrer")]);
        app.create(json!({"url": "https://example.org/", "slug": "quiet"}));

        assert_eq!(app.get("/quiet").header("referrer-policy"), Some("no-referrer"));
    }

    fn a_change_or_deletion_is_seen_by_another_instance_within_five_seconds(backend) {
        let first = TestApp::start(backend);
        let second = first.twin(backend, &[]);
        first.create(json!({"url": "https://example.org/old", "slug": "moving"}));
        assert_eq!(second.get("/moving").header("location"), Some("https://example.org/old"));

        first.api("PATCH", "/links/moving", Some(&json!({"url": "https://example.org/new"})));
        assert_eq!(first.get("/moving").header("location"), Some("https://example.org/new"));
        first.clock.advance(Duration::from_secs(5));
        assert_eq!(second.get("/moving").header("location"), Some("https://example.org/new"));

        first.api("DELETE", "/links/moving", None);
        assert_eq!(first.get("/moving").status, 404);
        first.clock.advance(Duration::from_secs(5));
        assert_eq!(second.get("/moving").status, 404);
    }

    fn a_slug_that_was_asked_for_before_it_was_made_works_at_once(backend) {
        let app = TestApp::start(backend);
        assert_eq!(app.get("/early").status, 404);

        app.create(json!({"url": "https://example.org/", "slug": "early"}));

        assert_eq!(app.get("/early").status, 302);
    }

    fn a_deleted_slug_can_be_made_again(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/1", "slug": "phoenix"}));
        app.get("/phoenix");
        app.api("DELETE", "/links/phoenix", None);
        assert_eq!(app.get("/phoenix").status, 404);

        app.create(json!({"url": "https://example.org/2", "slug": "phoenix"}));

        assert_eq!(app.get("/phoenix").header("location"), Some("https://example.org/2"));
    }
}

#[test]
fn a_link_that_is_older_than_the_reservation_of_its_slug_still_leads() {
    let app = TestApp::start(Backend::Postgres);
    app.create(json!({"url": "https://example.org/older", "slug": "older"}));
    app.database
        .execute("UPDATE links SET slug = 'admin' WHERE slug = 'older'");

    assert_eq!(
        app.get("/admin").header("location"),
        Some("https://example.org/older")
    );
}
