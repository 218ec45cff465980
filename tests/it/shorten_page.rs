//! `/`: making links without script.

use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::browser::Tab;
use crate::on_both_stores;

on_both_stores! {
    fn a_link_is_made_with_a_name_and_an_end(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);
        let mut tab = Tab::open(&app, "/");

        tab.submit("/app/shorten", &[("url", " example.org/a?b=c "), ("slug", "mine"), ("expires", "day")]);

        assert_eq!((tab.status, tab.path.as_str()), (200, "/?made=mine"));
        assert!(tab.body.contains(&format!("127.0.0.1:{}/mine", app.port)), "{}", tab.body);
        let link = app.api("GET", "/links/mine", None).json();
        assert_eq!(link["url"], "https://example.org/a?b=c");
        assert_eq!(link["expires_at"], "2026-11-22T02:00:00Z");
    }

    fn a_link_that_is_not_there_is_not_shown_as_made(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/there", "slug": "mine", "max_clicks": 3}));
        app.create(json!({"url": "https://example.org/gone", "slug": "old", "expires_at": "2026-11-21T01:00:00Z"}));

        let shown = app.get("/?made=mine");

        assert!(shown.body.contains("Your short link") && shown.body.contains("https://example.org/there"), "{}", shown.body);
        assert!(shown.body.contains("aria-label=\"QR code of the short link\"><svg"), "{}", shown.body);
        for path in ["/?made=nothing", "/?made=old", "/?made=a%20b", "/"] {
            let page = app.get(path);
            assert!(page.status == 200 && !page.body.contains("Your short link") && !page.body.contains("/gone"), "{path}");
        }
    }

    fn a_refused_form_keeps_what_was_typed_with_the_fault_beside_its_field(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);
        app.create(json!({"url": "https://example.org/", "slug": "taken"}));
        let rows = [
            ("javascript:alert(1)", "x", 422, "url-fault"),
            ("https://example.org/", "a b", 422, "slug-fault"),
            ("https://example.org/", "api", 422, "slug-fault"),
            ("https://example.org/", "taken", 409, "slug-fault"),
            ("\"><script>alert(1)</script>", "", 422, "url-fault"),
        ];
        for (url, slug, status, fault) in rows {
            let mut tab = Tab::open(&app, "/");

            tab.submit("/app/shorten", &[("url", url), ("slug", slug), ("expires", "week")]);

            assert_eq!(tab.status, status, "{url} {slug}");
            assert!(tab.body.contains(&format!("id=\"{fault}\"")), "{}", tab.body);
            assert!(tab.body.contains("aria-invalid=\"true\""));
            assert_eq!(tab.value("url"), url);
            assert_eq!(tab.value("slug"), slug);
            assert!(tab.body.contains("<option value=\"week\" selected>"));
            assert!(!tab.body.contains("<script>"));
        }
    }

    fn a_form_from_elsewhere_makes_nothing(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);
        let own = format!("http://127.0.0.1:{}", app.port);
        let send = |headers: &[(&str, &str)]| {
            let all = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
            app.send("POST", "/app/shorten", &all, b"url=https%3A%2F%2Fexample.org%2F&slug=evil").status
        };

        assert_eq!(send(&[("origin", "https://evil.example")]), 403);
        assert_eq!(send(&[("origin", "null")]), 403);
        assert_eq!(send(&[]), 403);
        assert_eq!(send(&[("origin", &own), ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(send(&[("origin", &own), ("sec-fetch-site", "same-site")]), 403);
        assert_eq!(send(&[("origin", &own.replace("http:", "https:"))]), 403);
        app.api("GET", "/links/evil", None).assert_problem(404, "link_not_found");
        assert_eq!(send(&[("origin", &own)]), 303);
    }

    fn without_a_key_nothing_is_made_unless_that_is_allowed(backend) {
        let app = TestApp::start(backend);
        let mut tab = Tab::open(&app, "/");
        assert!(!tab.body.contains("name=\"url\""));
        assert!(tab.body.contains("with a key"));

        tab.submit_anyway("/app/shorten", &[("url", "https://example.org/")]);

        assert_eq!(tab.status, 401);
        assert_eq!(app.api("GET", "/links", None).json()["links"], json!([]));
    }
}

#[test]
fn the_budget_of_an_address_holds_here_too() {
    let app = TestApp::start_with(
        Backend::Sqlite,
        &[("ANONYMOUS_CREATE", "true"), ("CREATE_RATE_PER_MINUTE", "1")],
    );
    let mut tab = Tab::open(&app, "/");
    tab.submit("/app/shorten", &[("url", "https://example.org/")]);
    assert_eq!(tab.status, 200);

    tab.submit("/app/shorten", &[("url", "https://example.org/")]);

    assert_eq!(tab.status, 429);
}
