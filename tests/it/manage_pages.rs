//! `/app`: signing in, and managing links without script.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::browser::Tab;
use crate::clicks_api::settle;
use crate::on_both_stores;

const PERSON: (&str, &str) = (
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
);

pub fn signed_in<'a>(app: &'a TestApp, key: &str) -> Tab<'a> {
    let mut tab = Tab::open(app, "/app/sign-in");
    tab.submit("/app/sign-in", &[("key", key)]);
    assert_eq!((tab.status, tab.path.as_str()), (200, "/app"), "{}", tab.body);
    tab
}

/// Makes a key and answers its object.
fn key(app: &TestApp, scopes: &[&str], own_links_only: bool) -> Value {
    let body = json!({"name": "a key", "scopes": scopes, "own_links_only": own_links_only});
    let answer = app.api("POST", "/keys", Some(&body));
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

on_both_stores! {
    fn a_key_opens_the_pages_and_signing_out_closes_them(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "here"}));
        let mut tab = Tab::open(&app, "/app/links/here?span=day");
        assert_eq!(tab.path, "/app/sign-in?to=%2Fapp%2Flinks%2Fhere%3Fspan%3Dday");

        tab.submit("/app/sign-in", &[("key", "wrong"), ("to", "/app/links/here?span=day")]);
        assert_eq!(tab.status, 401);
        assert!(tab.body.contains("This is no valid key.") && !tab.body.contains("wrong"), "{}", tab.body);
        tab.submit("/app/sign-in", &[("key", ADMIN_KEY), ("to", "/app/links/here?span=day")]);
        assert_eq!((tab.status, tab.path.as_str()), (200, "/app/links/here?span=day"));
        assert!(!tab.cookie.contains(ADMIN_KEY));
        let cookie = tab.cookie.clone();
        tab.submit("/app/sign-out", &[]);
        tab.go("/app");

        assert_ne!(tab.cookie, cookie);
        assert_eq!(tab.path, "/app/sign-in?to=%2Fapp");
    }

    fn every_instance_takes_the_cookie_and_a_changed_one_none(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let tab = signed_in(&app, ADMIN_KEY);
        let last = if tab.cookie.ends_with('0') { "1" } else { "0" };
        let changed = format!("{}{last}", &tab.cookie[..tab.cookie.len() - 1]);
        let status = |app: &TestApp, cookie: &str| app.send("GET", "/app", &[("cookie", cookie), ("accept", "text/html")], b"").status;

        assert_eq!(status(&app, &tab.cookie), 200);
        assert_eq!(status(&twin, &tab.cookie), 200);
        assert_eq!(status(&app, &changed), 303);
        assert_eq!(status(&app, "curtail=00"), 303);
        app.clock.advance(Duration::from_secs(12 * 3600 - 1));
        assert_eq!(status(&app, &tab.cookie), 200);
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(status(&app, &tab.cookie), 303);
    }

    fn a_key_that_is_revoked_ends_its_sessions_within_five_seconds(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        let issued = key(&app, &["links:read"], false);
        let mut tab = signed_in(&app, issued["key"].as_str().unwrap());
        let mut tab_of_twin = signed_in(&twin, issued["key"].as_str().unwrap());

        let revoked = app.api("DELETE", &format!("/keys/{}", issued["id"].as_str().unwrap()), None);
        app.clock.advance(Duration::from_secs(5));
        tab.go("/app");
        tab_of_twin.go("/app");

        assert_eq!(revoked.status, 204);
        assert_eq!(tab.path, "/app/sign-in?to=%2Fapp");
        assert_eq!(tab_of_twin.path, "/app/sign-in?to=%2Fapp");
    }

    fn a_key_does_here_what_it_may_and_no_more(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "others"}));
        let issued = key(&app, &["links:create", "links:read", "links:write"], true);
        let mut tab = signed_in(&app, issued["key"].as_str().unwrap());
        tab.go("/app/new");
        tab.submit("/app/new", &[("url", "https://example.org/"), ("slug", "own"), ("redirect_status", "302")]);
        assert_eq!(tab.path, "/app/links/own?made", "{}", tab.body);
        assert!(!tab.body.contains("data-refresh"));

        tab.go("/app");
        assert!(tab.body.contains("/app/links/own") && !tab.body.contains("/app/links/others"));
        for path in ["/app/links/others", "/app/links/others/edit", "/app/links/others/delete"] {
            tab.go(path);
            assert_eq!(tab.status, 404, "{path}");
        }
        tab.go("/app");
        tab.submit_anyway("/app/links/others/delete", &[]);
        assert_eq!(tab.status, 404);
        tab.go("/app/keys");
        assert_eq!(tab.status, 403);
        assert_eq!(app.get("/others").status, 302);
    }

    fn every_field_is_made_shown_and_changed(backend) {
        let app = TestApp::start(backend);
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/new");
        tab.submit("/app/new", &[("url", "example.org/a"), ("slug", "full"), ("title", "A <title>"), ("tags", "one, two,"),
            ("valid_from", "2026-11-20T10:00"), ("expires_at", "2027-01-31T12:30:15"), ("max_clicks", "100"),
            ("redirect_status", "301"), ("cache_seconds", "60"), ("forward_query", "on")]);
        assert_eq!(tab.path, "/app/links/full?made", "{}", tab.body);
        assert!(tab.body.contains("A &lt;title&gt;"));
        let made = app.api("GET", "/links/full", None).json();
        for (field, value) in [("url", json!("https://example.org/a")), ("title", json!("A <title>")), ("tags", json!(["one", "two"])),
            ("valid_from", json!("2026-11-20T10:00:00Z")), ("expires_at", json!("2027-01-31T12:30:15Z")),
            ("max_clicks", json!(100)), ("redirect_status", json!(301)), ("cache_seconds", json!(60)), ("forward_query", json!(true))] {
            assert_eq!(made[field], value, "{field}");
        }

        tab.go("/app/links/full/edit");
        assert_eq!(tab.value("expires_at"), "2027-01-31T12:30:15");
        tab.submit("/app/links/full/edit", &[("url", "https://example.org/b"), ("title", ""), ("tags", "two"),
            ("valid_from", ""), ("expires_at", ""), ("max_clicks", ""), ("cache_seconds", ""), ("redirect_status", "307")]);

        assert_eq!(tab.path, "/app/links/full?saved", "{}", tab.body);
        let changed = app.api("GET", "/links/full", None).json();
        for (field, value) in [("url", json!("https://example.org/b")), ("title", json!(null)), ("tags", json!(["two"])),
            ("valid_from", json!(null)), ("expires_at", json!(null)), ("max_clicks", json!(null)), ("cache_seconds", json!(null)),
            ("redirect_status", json!(307)), ("forward_query", json!(false)), ("disabled", json!(false))] {
            assert_eq!(changed[field], value, "{field}");
        }
        tab.submit("/app/links/full/state", &[("disabled", "on")]);
        assert_eq!(app.get("/full").status, 410);
        tab.submit("/app/links/full/state", &[]);
        assert_eq!(app.get("/full").status, 307);
    }

    fn a_refused_change_keeps_what_was_typed(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));
        let mut tab = signed_in(&app, ADMIN_KEY);
        let rows = [("url", "ftp://example.org/"), ("max_clicks", "many"), ("max_clicks", "0"), ("cache_seconds", "-1"),
            ("expires_at", "tomorrow"), ("title", "t".repeat(201).leak()), ("tags", "g".repeat(65).leak())];
        for (name, text) in rows {
            tab.go("/app/links/kept/edit");
            let mut fields = vec![("url", "https://example.org/new"), ("redirect_status", "302")];
            fields.retain(|(field, _)| *field != name);
            fields.push((name, text));

            tab.submit("/app/links/kept/edit", &fields);

            assert_eq!(tab.status, 422, "{name} {text}");
            assert!(tab.body.contains(&format!("id=\"{name}-fault\"")), "{name}: {}", tab.body);
            assert_eq!(tab.value(name), text);
        }
        assert_eq!(app.api("GET", "/links/kept", None).json()["url"], "https://example.org/");
    }

    fn a_deleted_link_comes_back_with_its_clicks(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        let twin = app.twin(backend, &[]);
        app.create(json!({"url": "https://example.org/", "slug": "back", "title": "Back"}));
        for path in ["/back", "/back?qr"] {
            assert_eq!(app.send("GET", path, &[PERSON], b"").status, 302);
        }
        settle(&app);
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/links/back/delete");
        assert!(tab.body.contains("2 clicks"), "{}", tab.body);

        tab.submit("/app/links/back/delete", &[]);
        assert_eq!(tab.path, "/app?deleted=back");
        app.get("/back").assert_problem(404, "not_found");
        // Another instance undoes it.
        let mut other = Tab::open(&twin, "/app/sign-in");
        other.submit("/app/sign-in", &[("key", ADMIN_KEY)]);
        other.go("/app?deleted=back");
        other.submit("/app/links/back/undo", &[]);

        assert_eq!(other.path, "/app/links/back?restored", "{}", other.body);
        app.clock.advance(Duration::from_secs(6));
        assert_eq!(app.send("HEAD", "/back", &[], b"").status, 302);
        let stats = app.api("GET", "/links/back/stats", None).json();
        assert_eq!((&stats["clicks"], &stats["scans"]), (&json!(2), &json!(1)));
        assert_eq!(app.api("GET", "/links/back", None).json()["title"], "Back");
    }

    fn a_deletion_is_undone_for_a_minute(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "late"}));
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/links/late/delete");
        tab.submit("/app/links/late/delete", &[]);
        app.clock.advance(Duration::from_secs(61));

        tab.submit("/app/links/late/undo", &[]);

        assert_eq!(tab.path, "/app?lost");
        assert!(tab.body.contains("could not be brought back"));
        app.get("/late").assert_problem(404, "not_found");
    }

    fn many_addresses_are_made_each_with_its_result(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "taken"}));
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/bulk");

        tab.submit("/app/bulk", &[("lines", "https://example.org/1 one\n\n example.org/2 \r\n=1+1\nhttps://example.org/3 taken\n")]);

        assert_eq!(tab.status, 200);
        assert!(tab.body.contains("2 links made, 2 refused"), "{}", tab.body);
        assert_eq!(app.get("/one").header("location"), Some("https://example.org/1"));
        assert_eq!(app.api("GET", "/links", None).json()["links"].as_array().unwrap().len(), 3);
        let lines: Vec<(&str, String)> = ["line", "short", "problem"].iter()
            .flat_map(|name| tab.values(name).into_iter().map(move |value| (*name, value))).collect();
        let fields: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        tab.submit("/app/bulk/csv", &fields);
        let rows: Vec<&str> = tab.body.split("\r\n").collect();
        assert_eq!(rows[0], "address,short_url,problem");
        assert_eq!(rows[1], format!("\"https://example.org/1 one\",\"http://127.0.0.1:{}/one\",\"\"", app.port));
        assert!(rows[3].starts_with("\"'=1+1\",\"\",\"a target "), "{}", rows[3]);
        assert_eq!(rows[4], "\"https://example.org/3 taken\",\"\",\"another link has this name\"");

        tab.go("/app/bulk");
        tab.submit("/app/bulk", &[("lines", &"https://example.org/\n".repeat(1001))]);
        assert_eq!(tab.status, 422);
    }

    fn a_form_that_is_sent_again_creates_nothing_twice(backend) {
        let app = TestApp::start(backend);
        let mut tab = signed_in(&app, ADMIN_KEY);
        let count = |app: &TestApp, path: &str, list: &str| app.api("GET", path, None).json()[list].as_array().unwrap().len();
        tab.go("/app/bulk");
        let form = tab.hidden("/app/bulk").unwrap();
        let again: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let lines = ("lines", "https://example.org/1\nhttps://example.org/2 two\nnonsense");
        tab.submit("/app/bulk", &[&again[..], &[lines]].concat());
        let first = tab.values("short");
        assert!(tab.body.contains("2 links made, 1 refused"), "{}", tab.body);

        // A reload, and a second click.
        tab.submit("/app/bulk", &[&again[..], &[lines]].concat());

        assert_eq!(tab.status, 200);
        assert!(tab.body.contains("2 links made, 1 refused"), "{}", tab.body);
        assert_eq!((tab.values("short"), count(&app, "/links", "links")), (first, 2));
        // Another text in the same form is another request.
        tab.submit("/app/bulk", &[&again[..], &[("lines", "https://example.org/3")]].concat());
        assert_eq!(count(&app, "/links", "links"), 3);

        tab.go("/app/keys");
        let form = tab.hidden("/app/keys").unwrap();
        let again: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let typed = [("name", "once"), ("scopes", "links:read")];
        tab.submit("/app/keys", &[&again[..], &typed].concat());
        assert_eq!(tab.status, 201);

        tab.submit("/app/keys", &[&again[..], &typed].concat());

        assert_eq!((tab.status, count(&app, "/keys", "keys")), (409, 1));
        assert!(tab.body.contains("was created before"), "{}", tab.body);
    }

    fn a_key_is_made_shown_once_and_revoked(backend) {
        let app = TestApp::start(backend);
        let mut tab = signed_in(&app, ADMIN_KEY);
        tab.go("/app/keys");

        tab.submit("/app/keys", &[("name", ""), ("own_links_only", "on")]);
        assert_eq!(tab.status, 422);
        assert!(tab.body.contains("id=\"name-fault\"") && tab.body.contains("id=\"scopes-fault\""), "{}", tab.body);
        tab.submit("/app/keys", &[("name", "press"), ("scopes", "links:create"), ("scopes", "links:read"), ("expires", "month")]);
        assert_eq!(tab.status, 201);
        let secret = tab.body.split("<code>ctl_").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let bearer = format!("Bearer ctl_{secret}");
        let list = |app: &TestApp| app.send("GET", "/api/v1/links", &[("authorization", &bearer)], b"").status;
        assert_eq!(list(&app), 200);
        tab.go("/app/keys");
        assert!(!tab.body.contains(&secret));
        assert!(tab.body.contains("2026-12-21"));
        let id = tab.body.split("/app/keys/").nth(1).unwrap().split('/').next().unwrap().to_owned();
        tab.submit(&format!("/app/keys/{id}/revoke"), &[]);

        assert_eq!(tab.path, "/app/keys");
        app.clock.advance(Duration::from_secs(5));
        assert_eq!(list(&app), 401);
    }

    fn links_are_found_by_text_tag_and_state_page_by_page(backend) {
        let app = TestApp::start(backend);
        for number in 0..30 {
            app.create(json!({"url": format!("https://example.org/{number}"), "slug": format!("n-{number}"), "tags": ["all"],
                "title": if number == 7 { json!("Seventh <b>") } else { json!(null) }}));
        }
        let mut tab = signed_in(&app, ADMIN_KEY);
        let links = |tab: &Tab<'_>| tab.body.matches("class=\"title\"").count();
        assert_eq!(links(&tab), 25);
        let next = tab.body.split("href=\"/app?cursor=").nth(1).unwrap().split('"').next().unwrap().to_owned();
        tab.go(&format!("/app?cursor={next}"));
        assert_eq!(links(&tab), 5);

        tab.go("/app?q=seventh+%3Cb&tag=&state=");
        assert_eq!(links(&tab), 1);
        assert!(tab.body.contains("Seventh &lt;b&gt;") && tab.body.contains("value=\"seventh &lt;b\""), "{}", tab.body);
        tab.go("/app?tag=all&state=live");
        assert_eq!(links(&tab), 25);
        tab.go("/app?state=disabled");
        assert_eq!(links(&tab), 0);
        tab.go("/app?q=%00&cursor=nonsense&tag=none&deleted=%3Cscript%3E");
        assert_eq!((tab.status, links(&tab)), (200, 0));
    }

    fn no_form_of_another_session_changes_anything(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "safe"}));
        let victim = signed_in(&app, ADMIN_KEY);
        let attacker = signed_in(&app, ADMIN_KEY);
        let own = format!("http://127.0.0.1:{}", app.port);
        let forms = [
            ("/app/new", "url=https%3A%2F%2Fexample.org%2F&slug=evil"),
            ("/app/links/safe/edit", "url=https%3A%2F%2Fevil.example%2F&redirect_status=302"),
            ("/app/links/safe/delete", ""),
            ("/app/links/safe/state", "disabled=on"),
            ("/app/bulk", "lines=https%3A%2F%2Fexample.org%2F+evil"),
            ("/app/keys", "name=evil&scopes=keys%3Aadmin"),
            ("/app/shorten", "url=https%3A%2F%2Fexample.org%2F&slug=evil"),
        ];
        for (path, fields) in forms {
            for (origin, token) in [(own.as_str(), attacker.token()), (own.as_str(), String::new()), ("https://evil.example", victim.token())] {
                let headers = [("cookie", victim.cookie.as_str()), ("origin", origin), ("content-type", "application/x-www-form-urlencoded")];
                let answer = app.send("POST", path, &headers, format!("token={token}&{fields}").as_bytes());
                assert!(matches!(answer.status, 403 | 303), "{path} {}", answer.status);
            }
        }

        assert_eq!(app.get("/safe").header("location"), Some("https://example.org/"));
        app.get("/evil").assert_problem(404, "not_found");
        assert_eq!(app.api("GET", "/keys", None).json()["keys"], json!([]));
    }
}

#[test]
fn too_many_wrong_keys_are_too_many_here_too() {
    let app = TestApp::start_with(Backend::Sqlite, &[("WRONG_KEY_RATE_PER_MINUTE", "2")]);
    let mut tab = Tab::open(&app, "/app/sign-in");

    let statuses: Vec<u16> = (0..3)
        .map(|_| {
            tab.submit_anyway("/app/sign-in", &[("key", "wrong")]);
            tab.status
        })
        .collect();

    assert_eq!(statuses, [401, 401, 429]);
}

#[test]
fn over_https_the_cookie_is_secure() {
    let app = TestApp::start_with(Backend::Sqlite, &[("TRUSTED_PROXY_HOPS", "1")]);
    let own = format!("https://127.0.0.1:{}", app.port);
    let headers = [
        ("x-forwarded-proto", "https"),
        ("origin", own.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];

    let answer = app.send(
        "POST",
        "/app/sign-in",
        &headers,
        format!("key={ADMIN_KEY}").as_bytes(),
    );

    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-curtail="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
    let page = app.send("GET", "/app/sign-in", &headers[..1], b"");
    assert!(page.header("strict-transport-security").is_some());
}

#[test]
fn the_api_page_shows_every_operation_under_this_address() {
    let app = TestApp::start_with(Backend::Sqlite, &[("BASE_URL", "https://go.example.com")]);
    let document: Value = serde_json::from_str(curtail::http::openapi()).unwrap();

    let page = app.get("/docs");

    assert_eq!(page.status, 200);
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.body.contains(&format!("<code>{path}</code>")), "{path}");
    }
    assert!(page.body.contains("https://go.example.com/api/v1/links"));
    assert!(page.body.contains("Authorization: Bearer $CURTAIL_KEY"));
}
