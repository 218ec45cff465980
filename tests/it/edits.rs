//! Two who change one link: the second is refused, and loses nothing.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, TestApp};
use crate::browser::Tab;
use crate::clicks_api::settle;
use crate::on_both_stores;

fn signed_in(app: &TestApp) -> Tab<'_> {
    let mut tab = Tab::open(app, "/app/sign-in");
    tab.submit("/app/sign-in", &[("key", ADMIN_KEY)]);
    assert_eq!((tab.status, tab.path.as_str()), (200, "/app"), "{}", tab.body);
    tab
}

fn send(app: &TestApp, method: &str, path: &str, header: (&str, &str), body: Option<&Value>) -> Answer {
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        header,
    ];
    let body = body.map(Value::to_string).unwrap_or_default();
    app.send(method, &format!("/api/v1{path}"), &headers, body.as_bytes())
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").expect("no ETag").to_owned()
}

fn link(app: &TestApp, slug: &str) -> Value {
    app.api("GET", &format!("/links/{slug}"), None).json()
}

on_both_stores! {
    fn a_link_that_the_client_holds_is_not_sent_again(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/", "slug": "held"}));
        let first = app.api("GET", "/links/held", None);
        let tag = etag(&first);

        for (header, status) in [(tag.clone(), 304), (format!("W/{tag}"), 304), (format!("\"x\", {tag}"), 304), ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200), (tag.replace('"', ""), 200)] {
            let answer = send(&app, "GET", "/links/held", ("if-none-match", &header), None);
            assert_eq!(answer.status, status, "{header}");
            assert_eq!(etag(&answer), tag);
            assert_eq!(answer.body.is_empty(), status == 304);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        // A click is no change, but the answer shows it.
        assert_eq!(app.send("GET", "/held", &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")], b"").status, 302);
        settle(&app);
        let clicked = send(&app, "GET", "/links/held", ("if-none-match", &tag), None);
        assert_eq!((clicked.status, &clicked.json()["clicks"]), (200, &json!(1)));
        let changed = send(&app, "PATCH", "/links/held", ("if-match", &tag), Some(&json!({"title": "t"})));
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(etag(&changed), etag(&app.api("GET", "/links/held", None)));
        assert_ne!(etag(&changed), etag(&clicked));
        send(&app, "GET", "/links/absent", ("if-none-match", "*"), None).assert_problem(404, "link_not_found");
    }

    fn a_change_that_expects_another_revision_is_refused(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "both"}));
        let old = etag(&app.api("GET", "/links/both", None));
        assert_eq!(app.api("PATCH", "/links/both", Some(&json!({"disabled": true}))).status, 200);
        let title = json!({"title": "late", "disabled": false});

        for header in [old.as_str(), "\"x\"", "nonsense", "", &format!("{old}, \"1-0\"")] {
            send(&app, "PATCH", "/links/both", ("if-match", header), Some(&title)).assert_problem(412, "stale");
            send(&app, "DELETE", "/links/both", ("if-match", header), None).assert_problem(412, "stale");
        }
        assert_eq!((&link(&app, "both")["title"], &link(&app, "both")["disabled"]), (&json!(null), &json!(true)));
        for method in ["PATCH", "DELETE"] {
            let body = (method == "PATCH").then_some(&title);
            send(&app, method, "/links/absent", ("if-match", &old), body).assert_problem(404, "link_not_found");
        }

        let new = etag(&app.api("GET", "/links/both", None));
        let changed = send(&app, "PATCH", "/links/both", ("if-match", &format!("{old}, {new}")), Some(&title));
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(send(&app, "PATCH", "/links/both", ("if-match", "*"), Some(&title)).status, 200);
        let newest = etag(&app.api("GET", "/links/both", None));
        assert_eq!(send(&app, "DELETE", "/links/both", ("if-match", &newest), None).status, 204);
        app.get("/both").assert_problem(404, "not_found");
    }

    fn of_many_who_expect_the_same_revision_one_gets_through(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "many"}));
        let tag = etag(&app.api("GET", "/links/many", None));

        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let change = |number: usize| {
                let (app, tag) = (&app, &tag);
                scope.spawn(move || send(app, "PATCH", "/links/many", ("if-match", tag), Some(&json!({"title": number.to_string()}))).status)
            };
            let threads: Vec<_> = (0..8).map(change).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }

    fn saving_a_form_does_not_undo_a_take_down(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://evil.example/", "slug": "bad", "title": "tpyo", "tags": ["a"]}));
        let mut editor = signed_in(&app);
        editor.go("/app/links/bad/edit");
        assert!(!editor.body.contains("name=\"disabled\""), "disabling has a form of its own");
        let typed = [("url", "https://evil.example/"), ("title", "typo"), ("tags", "a"), ("redirect_status", "302")];
        assert_eq!(app.api("POST", "/links/disable", Some(&json!({"domain": "evil.example"}))).status, 200);
        app.api("PATCH", "/links/bad", Some(&json!({"tags": ["a", "abuse"], "title": "Bad"})));

        editor.submit("/app/links/bad/edit", &typed);

        assert_eq!(editor.status, 412);
        assert!(editor.body.contains("was changed while you edited it"), "{}", editor.body);
        assert!(editor.body.contains("<b>Title</b>: now “Bad”, yours “typo”"), "{}", editor.body);
        assert!(editor.body.contains("<b>Tags</b>: now “a, abuse”<") && editor.body.contains("<b>Disabled</b>: now “on”<"), "{}", editor.body);
        assert_eq!(editor.value("title"), "typo");
        assert!(editor.body.contains("value=\"a, abuse\""));
        assert_eq!(app.get("/bad").status, 410);
        assert_eq!(link(&app, "bad")["title"], "Bad");

        editor.submit("/app/links/bad/edit", &[("url", "https://evil.example/"), ("title", "typo"), ("tags", "a, abuse"), ("redirect_status", "302")]);

        assert_eq!(editor.path, "/app/links/bad?saved", "{}", editor.body);
        let saved = link(&app, "bad");
        assert_eq!((&saved["title"], &saved["tags"], &saved["disabled"]), (&json!("typo"), &json!(["a", "abuse"]), &json!(true)));
        assert_eq!(app.get("/bad").status, 410);
    }

    fn a_form_changes_only_what_was_changed_in_it(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "part", "valid_from": "2026-11-20T10:00:00.123456Z",
            "expires_at": "2027-01-31T12:30:00Z", "max_clicks": 5, "forward_query": true, "tags": ["b", "a"]}));
        let before = link(&app, "part");
        let mut editor = signed_in(&app);
        editor.go("/app/links/part/edit");

        // As a browser sends it: without the seconds that are zero.
        editor.submit("/app/links/part/edit", &[("url", "https://example.org/"), ("title", "new"), ("tags", "b,a"), ("max_clicks", "5"),
            ("valid_from", "2026-11-20T10:00"), ("expires_at", "2027-01-31T12:30"), ("redirect_status", "302"), ("forward_query", "on")]);

        assert_eq!(editor.path, "/app/links/part?saved", "{}", editor.body);
        let mut after = link(&app, "part");
        assert_eq!(after["title"], "new");
        for field in ["title", "updated_at"] {
            after[field] = before[field].clone();
        }
        assert_eq!(after, before);
    }

    fn a_faulty_form_keeps_the_revision_that_it_showed(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "slow"}));
        let mut editor = signed_in(&app);
        editor.go("/app/links/slow/edit");
        let typed = [("url", "https://example.org/"), ("redirect_status", "302")];
        editor.submit("/app/links/slow/edit", &[&typed[..], &[("max_clicks", "0")]].concat());
        assert_eq!(editor.status, 422);
        app.api("PATCH", "/links/slow", Some(&json!({"url": "https://example.org/new"})));

        editor.submit("/app/links/slow/edit", &[&typed[..], &[("max_clicks", "7")]].concat());

        assert_eq!(editor.status, 412);
        assert_eq!((editor.value("max_clicks"), editor.value("url")), ("7".to_owned(), "https://example.org/new".to_owned()));
        assert_eq!(link(&app, "slow")["max_clicks"], json!(null));
    }

    fn a_link_is_deleted_as_it_was_shown(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "gone"}));
        let mut tab = signed_in(&app);
        tab.go("/app/links/gone/delete");
        app.api("PATCH", "/links/gone", Some(&json!({"url": "https://example.org/important"})));

        tab.submit("/app/links/gone/delete", &[]);

        assert_eq!(tab.status, 412);
        assert!(tab.body.contains("was changed after this page was opened") && tab.body.contains("https://example.org/important"), "{}", tab.body);
        assert_eq!(app.get("/gone").status, 302);
        tab.submit("/app/links/gone/delete", &[]);
        assert_eq!(tab.path, "/app?deleted=gone");
    }

    fn a_link_is_enabled_as_it_was_shown_and_disabled_at_once(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "abuse"}));
        let mut tab = signed_in(&app);
        tab.go("/app/links/abuse");
        app.api("PATCH", "/links/abuse", Some(&json!({"title": "t"})));
        tab.submit("/app/links/abuse/state", &[("disabled", "on")]);
        assert_eq!(app.get("/abuse").status, 410);
        for disabled in [false, true] {
            app.api("PATCH", "/links/abuse", Some(&json!({"disabled": disabled})));
        }

        tab.submit("/app/links/abuse/state", &[]);

        assert_eq!(tab.path, "/app/links/abuse?changed");
        assert!(tab.body.contains("was changed after this page was opened"));
        assert_eq!(app.get("/abuse").status, 410);
        tab.submit("/app/links/abuse/state", &[]);
        assert_eq!(app.get("/abuse").status, 302);
    }
}
