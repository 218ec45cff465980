//! Headers of answers, and what headers of requests lead to.

use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::on_both_stores;
use crate::process::Curtail;

const HTTPS: (&str, &str) = ("x-forwarded-proto", "https");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

on_both_stores! {
    /// Only pages had it, so a visitor who met nothing but redirects came over HTTP for ever.
    fn every_answer_over_https_asks_for_https(backend) {
        let app = TestApp::start_with(backend, &[("TRUSTED_PROXY_HOPS", "1")]);
        let short = app.twin(backend, &[("TRUSTED_PROXY_HOPS", "1"), ("HSTS_SECONDS", "300")]);
        let off = app.twin(backend, &[("TRUSTED_PROXY_HOPS", "1"), ("HSTS_SECONDS", "0")]);
        app.create(json!({"url": "https://example.org/", "slug": "safe"}));

        for path in ["/safe", "/nothing", "/", "/api/v1/links", "/health/live", "/a/b", "/openapi.json", "/safe/qr.svg"] {
            let hsts = |app: &TestApp| app.send("GET", path, &[HTTPS], b"").header("strict-transport-security").map(str::to_owned);
            assert_eq!(hsts(&app).as_deref(), Some("max-age=31536000"), "{path}");
            assert_eq!(hsts(&short).as_deref(), Some("max-age=300"), "{path}");
            assert_eq!(hsts(&off), None, "{path}");
            // Browsers ignore it there: RFC 6797, section 7.2.
            assert_eq!(app.get(path).header("strict-transport-security"), None, "{path}");
        }
    }

    fn pages_are_alone_in_their_window_and_use_no_devices(backend) {
        let app = TestApp::start(backend);

        for path in ["/", "/app/sign-in", "/docs", "/nothing"] {
            let answer = app.send("GET", path, &[BROWSER], b"");
            assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
            assert!(answer.header("permissions-policy").unwrap().contains("camera=()"), "{path}");
        }
        assert_eq!(app.get("/version").header("cross-origin-opener-policy"), None);
    }

    /// Under `/app` it was 404, and a style sheet was there for every method.
    fn a_method_that_a_path_does_not_have_is_405_everywhere(backend) {
        let app = TestApp::start(backend);
        let page = app.get("/").body;
        let at = page.find("/assets/").unwrap();
        let asset = page[at..].split('"').next().unwrap();

        let (read, send, both) = ("GET, HEAD", "POST", "GET, HEAD, POST");
        for (path, allow) in [
            (asset, read), ("/app", read), ("/app/sign-in", both), ("/app/sign-out", send), ("/app/new", both), ("/app/bulk", both), ("/app/bulk/csv", send),
            ("/app/links/x", read), ("/app/links/x/edit", both), ("/app/links/x/delete", both), ("/app/links/x/undo", send), ("/app/links/x/state", send),
            ("/app/keys", both), ("/app/keys/x/revoke", send), ("/docs", read), ("/version", read), ("/", read),
        ] {
            let answer = app.send("PUT", path, &[], b"");
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allow), "{path}");
            if allow == send {
                assert_eq!(app.get(path).status, 405, "{path}");
            }
            if path.starts_with("/app") {
                let seen = app.send("PUT", path, &[BROWSER], b"");
                assert_eq!((seen.status, seen.header("content-type")), (405, Some("text/html; charset=utf-8")), "{path}");
            }
        }
        assert_eq!(app.send("POST", asset, &[], b"x").status, 405);
        assert_eq!(app.send("HEAD", asset, &[], b"").status, 200);
        assert_eq!(app.get("/app/nothing").status, 404);
        assert_eq!(app.get("/assets/nothing/more.css").status, 404);
    }

    fn a_page_is_for_those_who_accept_one(backend) {
        let app = TestApp::start(backend);
        let kind = |accept: &str| app.send("GET", "/nothing", &[("accept", accept)], b"").header("content-type").unwrap().to_owned();

        for accept in ["text/*", "text/html", "text/html;q=0.3, application/json;q=0.2", "application/json;q=0, */*", "image/png, text/html;q=0.1"] {
            let wanted = if accept.contains("*/*") { "application/problem+json" } else { "text/html; charset=utf-8" };
            assert_eq!(kind(accept), wanted, "{accept}");
        }
        for accept in ["text/html;q=0", "text/html;q=0, */*", "*/*", "application/*, text/html;q=0.9", "image/png"] {
            assert_eq!(kind(accept), "application/problem+json", "{accept}");
        }
    }

    fn what_is_left_of_a_budget_is_on_every_answer_to_a_create(backend) {
        let app = TestApp::start_with(backend, &[("CREATE_RATE_PER_MINUTE", "9"), ("YOURLS_API", "true"), ("ANONYMOUS_CREATE", "true")]);
        let key = format!("Bearer {ADMIN_KEY}");
        let json = [("authorization", key.as_str()), ("content-type", "application/json")];
        let link = br#"{"url":"https://example.org/","slug":"once"}"#;
        let left = |path: &str, body: &[u8]| {
            let answer = app.send("POST", path, &json, body);
            assert_eq!(answer.header("ratelimit-policy"), Some("\"create\";q=9;w=60"), "{path}: {}", answer.body);
            let limit = answer.header("ratelimit").unwrap().to_owned();
            let mut parts = limit.split(';');
            assert_eq!(parts.next(), Some("\"create\""));
            let remaining: u32 = parts.next().unwrap().strip_prefix("r=").unwrap().parse().unwrap();
            assert!(parts.next().unwrap().starts_with("t="));
            (answer.status, remaining)
        };

        assert_eq!(left("/api/v1/links", link), (201, 8));
        assert_eq!(left("/api/v1/links", link), (409, 7));
        assert_eq!(left("/api/v1/links", b"{}"), (422, 6));
        assert_eq!(left("/api/v1/links/bulk", br#"{"links":[{"url":"https://example.org/"}]}"#), (200, 5));
        assert_eq!(left("/api/v1/import", b""), (200, 4));
        assert_eq!(left("/yourls-api.php?action=shorturl&url=https://example.org/y&format=json", b"").1, 3);
        assert_eq!(app.api("GET", "/links", None).header("ratelimit"), None);
    }
}

/// It was neither taken over nor noted, so no line of a proxy could be found again.
#[test]
fn the_id_that_a_client_gives_is_in_the_log_and_not_in_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("links.db").display());
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("LOG_FORMAT", "json"),
    ]);
    let ask = |id: &str| {
        curtail.send(&format!(
            "GET /api/v1/links HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
        ))
    };

    let answer = ask("req-7f3a/upstream");
    ask(&"x".repeat(129));
    ask("two words");
    curtail.signal(Signal::INT);
    let (_, log) = curtail.wait();

    assert!(!answer.contains("req-7f3a/upstream"), "{answer}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let requests: Vec<_> = lines
        .iter()
        .filter(|line| line["httpRequest"]["status"] == 401)
        .collect();
    let ids: Vec<_> = requests.iter().map(|line| &line["client_request_id"]).collect();
    assert_eq!(
        ids,
        [&json!("req-7f3a/upstream"), &Value::Null, &Value::Null],
        "{log}"
    );
}

#[test]
fn the_metrics_endpoint_has_an_address_of_its_own() {
    let app = TestApp::start_with(
        Backend::Sqlite,
        &[("METRICS_PORT", "0"), ("METRICS_ADDRESS", "127.0.0.2")],
    );
    let port = app.metrics_port.unwrap();

    let mut answer = ureq::get(format!("http://127.0.0.2:{port}/metrics"))
        .call()
        .unwrap();

    assert!(answer.body_mut().read_to_string().unwrap().contains("curtail_"));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(app.get("/version").status, 200);
}
