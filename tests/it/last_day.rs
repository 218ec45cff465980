//! The last day of the calendar as a time: what other programs write for "never".

use serde_json::json;

use crate::app::{ADMIN_KEY, TestApp};
use crate::manage_pages::signed_in;
use crate::on_both_stores;
use crate::porting::{counts, import};

/// The latest time that is kept.
const LAST: &str = "9999-12-30T22:00:00Z";

on_both_stores! {
    /// It was refused as no time, by every field with one.
    fn the_last_day_of_the_year_9999_is_accepted_everywhere(backend) {
        let app = TestApp::start(backend);
        let late = "9999-12-31T23:59:59Z";

        let made = app.create(json!({"url": "https://example.org/", "slug": "made", "expires_at": late}));
        app.create(json!({"url": "https://example.org/", "slug": "changed"}));
        let changed = app.api("PATCH", "/links/changed", Some(&json!({"expires_at": "9999-12-31T23:59:59.9999999+01:00"})));
        let key = app.api("POST", "/keys", Some(&json!({"name": "k", "scopes": ["links:read"], "expires_at": late})));
        let table = "slug,url,expires_at\nciv,https://example.org/,9999-12-31 23:59:59\nday,https://example.org/,9999-12-31\n";
        let lines = format!("{{\"slug\":\"line\",\"url\":\"https://example.org/\",\"expires_at\":\"{late}\"}}\n");
        let imported = [import(&app, "?format=csv", table.as_bytes()), import(&app, "?format=ndjson", lines.as_bytes())];

        assert_eq!(made["expires_at"], LAST);
        assert_eq!((changed.status, &changed.json()["expires_at"]), (200, &json!(LAST)), "{}", changed.body);
        assert_eq!((key.status, &key.json()["expires_at"]), (201, &json!(LAST)), "{}", key.body);
        assert_eq!(imported.map(|report| counts(&report)), [[2, 0, 0, 0, 0], [1, 0, 0, 0, 0]]);
        for slug in ["made", "changed", "civ", "day", "line"] {
            assert_eq!(app.api("GET", &format!("/links/{slug}"), None).json()["expires_at"], LAST, "{slug}");
            assert_eq!(app.get(&format!("/{slug}")).status, 302, "{slug}");
        }
        assert_eq!(app.api("GET", &format!("/audit?until={late}"), None).status, 200);
        // A range that is too long is refused as that.
        let long = app.api("GET", &format!("/links/made/stats?from=2026-11-20T00:00:00Z&to={late}"), None);
        assert!(long.assert_problem(400, "malformed_query")["detail"].as_str().unwrap().contains("1000"), "{}", long.body);
        assert_eq!(app.api("GET", &format!("/links/made/stats?from=9999-12-30T00:00:00Z&to={late}"), None).status, 200);
    }

    fn the_last_day_is_taken_in_the_form_and_comes_back_from_an_export(backend) {
        let app = TestApp::start(backend);
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/new");

        tab.submit("/app/new", &[("url", "https://example.org/"), ("slug", "typed"), ("expires_at", "9999-12-31T23:59")]);

        assert_eq!(app.api("GET", "/links/typed", None).json()["expires_at"], LAST);
        for format in ["ndjson", "csv"] {
            let export = app.api("GET", &format!("/export?format={format}"), None);
            assert!(export.body.contains(LAST), "{}", export.body);
            assert_eq!(counts(&import(&app, &format!("?format={format}"), export.body.as_bytes())), [0, 1, 0, 0, 0]);
        }
    }
}
