//! Sessions of the web interface: what opens and closes them, on every instance, and what no other site can do to them.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, Backend, TestApp};
use crate::browser::Tab;
use crate::on_both_stores;
use crate::process::{self, Curtail};

fn signed_in<'a>(app: &'a TestApp, key: &str) -> Tab<'a> {
    let mut tab = Tab::open(app, "/app/sign-in");
    tab.submit("/app/sign-in", &[("key", key)]);
    assert_eq!((tab.status, tab.path.as_str()), (200, "/app"), "{}", tab.body);
    tab
}

fn key(app: &TestApp, scopes: &[&str]) -> Value {
    let answer = app.api("POST", "/keys", Some(&json!({"name": "a key", "scopes": scopes})));
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

/// The status of `/app` with a cookie: 200 in a session, 303 to the sign-in without one.
fn status(app: &TestApp, cookie: &str) -> u16 {
    let headers = [("cookie", cookie), ("accept", "text/html")];
    app.send("GET", "/app", &headers, b"").status
}

/// Kind, actor and key of each recorded change of sessions, newest first.
fn recorded(app: &TestApp) -> Vec<String> {
    let changes = app.api("GET", "/audit?limit=200", None).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes = changes["changes"].as_array().unwrap().iter();
    let sessions = changes.filter(|change| text(&change["kind"]).starts_with("session"));
    sessions
        .map(|change| {
            assert_eq!(
                (&change["slug"], &change["revision"]),
                (&Value::Null, &Value::Null)
            );
            let line = ["kind", "actor", "key_id"].map(|name| text(&change[name]));
            line.join(" ").trim_end().to_owned()
        })
        .collect()
}

fn sign_in(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    app.send(
        "POST",
        "/app/sign-in",
        &all,
        format!("key={ADMIN_KEY}").as_bytes(),
    )
}

on_both_stores! {
    fn no_link_on_another_site_replaces_a_session(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "x"}));
        let tab = signed_in(&app, ADMIN_KEY);
        let cookies = ["", "curtail=00", &format!("curtail={}", "0".repeat(170))];

        for path in ["/", "/app", "/app/sign-in", "/app/keys", "/app/links/x", "/docs", "/x+", "/nothing", "/app/nothing"] {
            for cookie in cookies {
                for site in ["cross-site", "same-site", "none", "same-origin"] {
                    let headers = [("cookie", cookie), ("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("accept", "text/html")];
                    assert_eq!(app.send("GET", path, &headers, b"").header("set-cookie"), None, "{path} {cookie} {site}");
                }
            }
        }
        // Browsers send a `Lax` cookie with the click, and the session is as it was.
        let clicked = app.send("GET", "/app", &[("cookie", &tab.cookie), ("sec-fetch-site", "cross-site")], b"");
        assert_eq!((clicked.status, clicked.header("set-cookie")), (200, None));
    }

    fn instances_without_an_admin_key_share_their_sessions(backend) {
        let app = TestApp::start(backend);
        let issued = key(&app, &["links:read"]);
        let without = [("ADMIN_API_KEY", "")];
        let (one, two) = (app.twin(backend, &without), app.twin(backend, &without));

        let tab = signed_in(&one, issued["key"].as_str().unwrap());

        assert_eq!((status(&one, &tab.cookie), status(&two, &tab.cookie)), (200, 200));
    }

    fn a_session_of_the_admin_key_ends_with_that_key(backend) {
        let app = TestApp::start(backend);
        let other = app.twin(backend, &[("ADMIN_API_KEY", "another-key-of-30-characters!!")]);
        let tab = signed_in(&app, ADMIN_KEY);

        assert_eq!((status(&app, &tab.cookie), status(&other, &tab.cookie)), (200, 303));
    }

    fn signing_out_ends_the_session_on_every_instance(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let mut tab = signed_in(&app, ADMIN_KEY);
        let other = signed_in(&app, ADMIN_KEY);
        let stolen = tab.cookie.clone();
        assert_eq!(status(&twin, &stolen), 200);

        tab.submit("/app/sign-out", &[]);

        assert_eq!((tab.cookie.as_str(), tab.path.as_str()), ("curtail=", "/"));
        assert_eq!(status(&app, &stolen), 303);
        app.clock.advance(Duration::from_secs(5));
        assert_eq!(status(&twin, &stolen), 303);
        for instance in [&app, &twin] {
            assert_eq!(status(instance, &other.cookie), 200, "another session of the same key");
        }
    }

    fn rotating_ends_every_session_on_every_instance(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let issued = key(&app, &["links:read"]);
        let (tab, other) = (signed_in(&app, ADMIN_KEY), signed_in(&twin, issued["key"].as_str().unwrap()));
        let settings = [("DATABASE_URL", app.database.url())];

        let rotated: Output = process::command(&settings).args(["sessions", "rotate"]).output().unwrap();

        assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
        app.clock.advance(Duration::from_secs(5));
        for instance in [&app, &twin] {
            for tab in [&tab, &other] {
                assert_eq!(status(instance, &tab.cookie), 303);
            }
        }
        let again = signed_in(&twin, ADMIN_KEY);
        assert_eq!((status(&app, &again.cookie), status(&twin, &again.cookie)), (200, 200));
        assert_eq!(recorded(&app)[1], "sessions.rotated operator");
    }

    fn sign_ins_are_recorded(backend) {
        let app = TestApp::start(backend);
        let issued = key(&app, &["links:read"]);
        let (id, secret) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
        let mut tab = signed_in(&app, secret);
        tab.submit("/app/sign-out", &[]);
        signed_in(&app, ADMIN_KEY);
        for wrong in ["wrong", "", &format!("{secret}x")] {
            let mut tab = Tab::open(&app, "/app/sign-in");
            tab.submit("/app/sign-in", &[("key", wrong)]);
            assert_eq!(tab.status, 401);
        }

        let expected = [
            "session.refused anonymous".to_owned(), "session.refused anonymous".to_owned(), "session.refused anonymous".to_owned(),
            "session.opened admin".to_owned(), format!("session.closed key:{id} {id}"), format!("session.opened key:{id} {id}"),
        ];
        assert_eq!(recorded(&app), expected);
        let refused = app.api("GET", "/audit?kind=session.refused", None).json();
        assert_eq!(refused["changes"].as_array().unwrap().len(), 3);
    }

    fn strangers_do_not_fill_the_table_of_changes(backend) {
        let app = TestApp::start(backend);
        let own = format!("http://127.0.0.1:{}", app.port);
        let headers = [("origin", own.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        for _ in 0..70 {
            assert_eq!(app.send("POST", "/app/sign-in", &headers, b"key=wrong").status, 401);
        }

        assert_eq!(recorded(&app).len(), 60);
    }

    fn a_key_that_is_revoked_closes_its_sessions_for_good(backend) {
        let app = TestApp::start(backend);
        let issued = key(&app, &["links:read"]);
        let tab = signed_in(&app, issued["key"].as_str().unwrap());
        assert_eq!(status(&app, &tab.cookie), 200);

        app.api("DELETE", &format!("/keys/{}", issued["id"].as_str().unwrap()), None);

        assert_eq!(status(&app, &tab.cookie), 303);
    }
}

#[test]
fn a_proxy_that_removes_the_cookie_is_named_and_another_name_helps() {
    let app = TestApp::start_with(
        Backend::Sqlite,
        &[("SESSION_COOKIE", "__session"), ("TRUSTED_PROXY_HOPS", "1")],
    );
    let own = format!("https://127.0.0.1:{}", app.port);
    let headers = [("origin", own.as_str()), ("x-forwarded-proto", "https")];

    let answer = sign_in(&app, &headers);

    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__session="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
    let next = answer.header("location").unwrap();
    let without = app.send("GET", next, &[("accept", "text/html")], b"");
    assert_eq!(without.status, 200);
    assert!(
        without.body.contains("your browser sent no session cookie"),
        "{}",
        without.body
    );
    let cookie = cookie.split(';').next().unwrap();
    let with = app.send("GET", next, &[("cookie", cookie)], b"");
    assert_eq!((with.status, with.header("location")), (303, Some("/app")));
    assert_eq!(status(&app, cookie), 200);
}

#[test]
fn a_form_is_taken_from_the_whole_origin_alone() {
    let settings = [
        ("BASE_URL", "https://go.example.com"),
        ("TRUSTED_PROXY_HOPS", "1"),
    ];
    let app = TestApp::start_with(Backend::Sqlite, &settings);
    let https = ("x-forwarded-proto", "https");
    let rows: [(&[(&str, &str)], u16); 12] = [
        (&[https, ("origin", "https://go.example.com")], 303),
        (&[https, ("origin", "https://GO.example.com:443")], 303),
        (&[https, ("origin", "http://go.example.com")], 403),
        (&[https, ("origin", "https://go.example.com:8443")], 403),
        (&[https, ("origin", "https://example.com")], 403),
        (&[https, ("origin", "null")], 403),
        (&[https], 403),
        (&[https, ("sec-fetch-site", "same-origin")], 303),
        (&[https, ("sec-fetch-site", "same-site")], 403),
        (&[https, ("sec-fetch-site", "none")], 403),
        (
            &[
                https,
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://go.example.com"),
            ],
            403,
        ),
        (
            &[
                https,
                ("sec-fetch-site", "none"),
                ("origin", "https://go.example.com"),
            ],
            303,
        ),
    ];

    for (headers, expected) in rows {
        let answer = sign_in(&app, headers);
        assert_eq!(answer.status, expected, "{headers:?}");
        assert_eq!(
            answer.header("set-cookie").is_some(),
            expected == 303,
            "{headers:?}"
        );
    }
}

#[test]
fn without_a_key_no_page_of_another_origin_writes() {
    let directory = tempfile::tempdir().unwrap();
    let trial = Curtail::start_in(directory.path(), &[("PORT", "0"), ("YOURLS_API", "true")]);
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", trial.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        agent
            .run(request.body(body.to_owned()).unwrap())
            .unwrap()
            .status()
            .as_u16()
    };
    let own = format!("http://{}", trial.address);
    let foreign: [&[(&str, &str)]; 4] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &own)],
    ];
    let link = r#"{"url":"https://example.org/","slug":"evil"}"#;
    let yourls = "/yourls-api.php?action=shorturl&url=https%3A%2F%2Fexample.org%2F&keyword=evil";

    for headers in foreign {
        let json = [headers, &[("content-type", "application/json")]].concat();
        for (method, path) in [
            ("POST", "/api/v1/import?on_conflict=overwrite&format=ndjson"),
            ("POST", "/api/v1/links"),
            ("POST", "/api/v1/links/bulk"),
            ("POST", "/api/v1/links/disable"),
            ("PATCH", "/api/v1/links/evil"),
            ("DELETE", "/api/v1/links/evil"),
            ("POST", "/api/v1/keys"),
            ("DELETE", "/api/v1/keys/a1B2c3D4e5F6"),
            ("PUT", "/api/v1/log-level"),
        ] {
            assert_eq!(
                send(method, path, &json, link),
                403,
                "{method} {path} {headers:?}"
            );
        }
        for method in ["GET", "POST"] {
            assert_eq!(send(method, yourls, headers, ""), 403, "{method} {headers:?}");
        }
    }
    assert_eq!(send("GET", "/api/v1/links/evil", &[], ""), 404);

    // A program, a page of this service, and a reader from anywhere.
    assert_eq!(
        send(
            "POST",
            "/api/v1/links",
            &[("content-type", "application/json")],
            link
        ),
        201
    );
    let own_headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(send("DELETE", "/api/v1/links/evil", &own_headers, ""), 204);
    assert_eq!(send("GET", "/api/v1/links", foreign[2], ""), 200);
    assert_eq!(send("GET", yourls, &[], ""), 200);
}

/// A page has no key, so a request with one comes from a program that was given it.
#[test]
fn with_a_key_the_origin_does_not_matter() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANONYMOUS_CREATE", "true")]);
    let link = br#"{"url":"https://example.org/"}"#;
    let bearer = format!("Bearer {ADMIN_KEY}");
    let headers = [
        ("content-type", "application/json"),
        ("origin", "https://other.example"),
        ("authorization", bearer.as_str()),
    ];

    assert_eq!(app.send("POST", "/api/v1/links", &headers, link).status, 201);
    app.send("POST", "/api/v1/links", &headers[..2], link)
        .assert_problem(403, "foreign_origin");
}
