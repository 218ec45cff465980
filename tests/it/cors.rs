//! Pages of other origins: what `CORS_ORIGINS` lets them send and read.

use serde_json::json;

use crate::app::{ADMIN_KEY, Answer, Backend, TestApp};
use crate::on_both_stores;

const APP: &str = "https://app.example";

fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,idempotency-key",
        ),
    ];
    app.send("OPTIONS", path, &headers, b"")
}

on_both_stores! {
    fn a_listed_origin_may_send_and_read_and_no_other_may(backend) {
        let app = TestApp::start_with(backend, &[("CORS_ORIGINS", "https://app.example, http://localhost:5173")]);
        let key = format!("Bearer {ADMIN_KEY}");
        let create = |origin: &str| {
            let headers = [("origin", origin), ("authorization", key.as_str()), ("content-type", "application/json")];
            app.send("POST", "/api/v1/links", &headers, b"{\"url\":\"https://example.org/\"}")
        };

        for path in ["/api/v1/links", "/api/v1/links/x", "/api/v1/import", "/yourls-api.php", "/some-slug"] {
            let allowed = preflight(&app, path, APP);
            assert_eq!((allowed.status, allowed.body.as_str()), (204, ""), "{path}");
            assert_eq!(allowed.header("access-control-allow-origin"), Some(APP));
            assert_eq!(allowed.header("vary"), Some("Origin"));
            let methods = allowed.header("access-control-allow-methods").unwrap();
            assert!(["GET", "POST", "PUT", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
            assert!(allowed.header("access-control-allow-headers").unwrap().contains("Authorization"));
            assert!(allowed.header("access-control-max-age").is_some() && allowed.header("x-request-id").is_some());
            let refused = preflight(&app, path, "https://evil.example");
            assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, None), "{path}");
        }
        let made = create(APP);
        assert_eq!((made.status, made.header("access-control-allow-origin")), (201, Some(APP)));
        let exposed = made.header("access-control-expose-headers").unwrap();
        assert!(["Location", "X-Request-Id", "RateLimit", "ETag"].iter().all(|name| exposed.contains(name)), "{exposed}");
        assert_eq!(made.header("access-control-allow-credentials"), None);
        // Errors can be read as well.
        let unauthorized = app.send("GET", "/api/v1/links", &[("origin", "http://localhost:5173")], b"");
        assert_eq!((unauthorized.status, unauthorized.header("access-control-allow-origin")), (401, Some("http://localhost:5173")));
        let other = create("https://evil.example");
        assert_eq!((other.status, other.header("access-control-allow-origin"), other.header("vary")), (201, None, Some("Origin")));
        // Neither a prefix nor a subdomain of a listed origin is one.
        for origin in ["https://app.example.evil.example", "https://sub.app.example", "http://app.example", "null"] {
            assert_eq!(create(origin).header("access-control-allow-origin"), None, "{origin}");
        }
    }

    fn every_origin_may_where_the_setting_is_a_star(backend) {
        let app = TestApp::start_with(backend, &[("CORS_ORIGINS", "*")]);
        app.create(json!({"url": "https://example.org/", "slug": "seen"}));

        assert_eq!(preflight(&app, "/api/v1/links", APP).status, 204);
        let redirect = app.send("GET", "/seen", &[("origin", APP)], b"");
        assert_eq!((redirect.status, redirect.header("access-control-allow-origin"), redirect.header("vary")), (302, Some("*"), None));
    }

    fn no_other_origin_may_without_the_setting(backend) {
        let app = TestApp::start(backend);

        let refused = preflight(&app, "/api/v1/links", APP);

        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
        let names = app.send("GET", "/version", &[("origin", APP)], b"").header_names();
        assert!(!names.iter().any(|name| name.starts_with("access-control") || name == "vary"), "{names:?}");
    }
}

/// A request with `OPTIONS` that is no preflight has the answer that it always had.
#[test]
fn a_plain_options_is_still_405_with_the_methods() {
    let app = TestApp::start_with(Backend::Sqlite, &[("CORS_ORIGINS", "*")]);

    let answer = app.send("OPTIONS", "/api/v1/links", &[("origin", APP)], b"");

    answer.assert_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
}
