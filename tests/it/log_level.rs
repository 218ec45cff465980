//! The log level, changed while the service runs.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::process::Curtail;

#[test]
fn a_level_is_shown_changed_and_falls_back() {
    let app = TestApp::start(Backend::Sqlite);
    let at_first = app.api("GET", "/log-level", None);
    assert_eq!(
        (at_first.status, at_first.json()),
        (
            200,
            json!({"level": "info", "default": "info", "expires_at": null})
        )
    );

    let changed = app.api(
        "PUT",
        "/log-level",
        Some(&json!({"level": "curtail=debug,info", "seconds": 60})),
    );

    let expected =
        json!({"level": "curtail=debug,info", "default": "info", "expires_at": "2026-11-21T02:01:00Z"});
    assert_eq!((changed.status, changed.json()), (200, expected.clone()));
    app.clock.advance(Duration::from_secs(59));
    assert_eq!(app.api("GET", "/log-level", None).json(), expected);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.api("GET", "/log-level", None).json(), at_first.json());
}

#[test]
fn a_level_that_is_none_is_refused() {
    let app = TestApp::start(Backend::Sqlite);
    for (body, faults) in [
        (json!({}), vec!["/level missing"]),
        (json!({"level": null}), vec!["/level wrong_type"]),
        (json!({"level": "curtail=loud"}), vec!["/level out_of_range"]),
        (json!({"level": "[span]=info"}), vec!["/level out_of_range"]),
        (json!({"level": "x".repeat(1025)}), vec!["/level too_long"]),
        (
            json!({"level": "info", "seconds": 0, "extra": 1}),
            vec!["/seconds out_of_range", "/extra unknown_field"],
        ),
        (
            json!({"level": "info", "seconds": 86401}),
            vec!["/seconds out_of_range"],
        ),
    ] {
        let answer = app.api("PUT", "/log-level", Some(&body));

        answer.assert_problem(422, "invalid_log_level");
        assert_eq!(answer.faults(), faults, "{body}");
    }
    assert_eq!(app.api("GET", "/log-level", None).json()["level"], "info");
}

#[test]
fn only_who_administers_keys_changes_the_level() {
    let app = TestApp::start(Backend::Sqlite);
    let key = app.api(
        "POST",
        "/keys",
        Some(&json!({"name": "n", "scopes": ["links:create", "links:read", "links:write", "stats:read"]})),
    );
    let bearer = format!("Bearer {}", key.json()["key"].as_str().unwrap());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];

    for method in ["GET", "PUT"] {
        let body: &[u8] = if method == "PUT" {
            b"{\"level\":\"debug\"}"
        } else {
            b""
        };
        app.send(method, "/api/v1/log-level", &headers, body)
            .assert_problem(403, "insufficient_scope");
        app.send(method, "/api/v1/log-level", &headers[1..], body)
            .assert_problem(401, "unauthenticated");
    }
    app.api("DELETE", "/log-level", None)
        .assert_problem(405, "method_not_allowed");
}

#[test]
fn a_changed_level_changes_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let curtail = Curtail::start_in(directory.path(), &[("PORT", "0"), ("ADMIN_API_KEY", ADMIN_KEY)]);
    let put = |level: &str| {
        let body = json!({ "level": level }).to_string();
        let request = format!(
            "PUT /api/v1/log-level HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        assert!(curtail.send(&request).starts_with("HTTP/1.1 200"));
    };

    curtail.get("/before");
    put("debug");
    curtail.get("/during");
    put("info");
    curtail.get("/after");
    curtail.signal(Signal::INT);
    let (_, log) = curtail.wait();

    let paths: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["httpRequest"]["status"] == 404)
        .map(|line| line["httpRequest"]["requestUrl"].clone())
        .collect();
    assert_eq!(paths, ["/during"]);
}
