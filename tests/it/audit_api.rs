//! `GET /api/v1/audit`, from outside.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, TestApp};
use crate::on_both_stores;

fn changes(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.api("GET", &format!("/audit?{query}"), None);
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.json()["changes"].as_array().unwrap().clone()
}

/// Kind, actor and slug or key of each change.
fn short(app: &TestApp, query: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    changes(app, query)
        .iter()
        .map(|change| {
            let subject = text(&change["slug"]) + &text(&change["key_id"]);
            format!("{} {} {subject}", text(&change["kind"]), text(&change["actor"]))
        })
        .collect()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

on_both_stores! {
    fn every_door_leaves_its_change_with_its_actor(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true"), ("YOURLS_API", "true")]);
        let issued = app.api("POST", "/keys", Some(&json!({"name": "n", "scopes": ["links:create", "links:write"]})));
        let issued = issued.json();
        let (id, key) = (issued["id"].as_str().unwrap(), bearer(issued["key"].as_str().unwrap()));
        let send = |key: Option<&str>, method: &str, path: &str, body: &Value| {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(key.map(|key| ("authorization", key)));
            let answer = app.send(method, &format!("/api/v1{path}"), &headers, body.to_string().as_bytes());
            assert!(answer.status < 300, "{path}: {}", answer.body);
        };
        let link = |slug: &str| json!({"url": "https://example.org/", "slug": slug});

        send(None, "POST", "/links", &link("visitor"));
        send(Some(&key), "POST", "/links", &link("one"));
        send(Some(&key), "POST", "/links/bulk", &json!({"links": [link("two")]}));
        send(Some(&key), "PATCH", "/links/one", &json!({"title": "t"}));
        send(Some(&key), "PATCH", "/links/one", &json!({"disabled": true}));
        send(Some(&key), "POST", "/links/disable", &json!({"slugs": ["one"], "disabled": false}));
        app.send(
            "POST",
            "/api/v1/import?format=ndjson",
            &[("authorization", &bearer(ADMIN_KEY)), ("content-type", "application/x-ndjson")],
            link("imported").to_string().as_bytes(),
        );
        let form = format!("action=shorturl&url=https%3A%2F%2Fexample.org%2F&keyword=four&signature={}", &key[7..]);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(app.send("POST", "/yourls-api.php", &kind, form.as_bytes()).status, 200);
        app.api("DELETE", "/links/two", None);
        app.api("DELETE", &format!("/keys/{id}"), None);

        let by_key = |kind: &str, slug: &str| format!("{kind} key:{id} {slug}");
        let mut expected = vec![
            format!("key.created admin {id}"),
            "link.created anonymous visitor".to_owned(),
            by_key("link.created", "one"),
            by_key("link.created", "two"),
            by_key("link.updated", "one"),
            by_key("link.disabled", "one"),
            by_key("link.enabled", "one"),
            "link.created admin imported".to_owned(),
            by_key("link.created", "four"),
            "link.deleted admin two".to_owned(),
            format!("key.revoked admin {id}"),
        ];
        expected.reverse();
        assert_eq!(short(&app, ""), expected);
        assert_eq!(short(&app, "slug=two"), [expected[1].clone(), expected[7].clone()]);
        assert_eq!(short(&app, "actor=anonymous"), ["link.created anonymous visitor"]);
        assert_eq!(short(&app, "kind=key.revoked"), [expected[0].clone()]);
        let disabled = changes(&app, "kind=link.disabled").remove(0);
        let at = disabled["changed_at"].as_str().unwrap();
        assert_eq!(short(&app, &format!("since={at}"))[5..], expected[5..6]);
        assert_eq!(short(&app, &format!("until={at}")), expected[6..]);
        assert!(disabled["revision"].as_i64().unwrap() > 0);
        assert_eq!(disabled["key_id"], Value::Null);
    }

    fn one_page_follows_the_other(backend) {
        let app = TestApp::start(backend);
        for number in 0..5 {
            app.create(json!({"url": "https://example.org/", "slug": format!("l{number}")}));
        }

        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.api("GET", &format!("/audit?limit=2{cursor}"), None).json();
            let slugs = page["changes"].as_array().unwrap().iter().map(|change| change["slug"].clone());
            seen.extend(slugs);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }

        assert_eq!(seen, ["l4", "l3", "l2", "l1", "l0"]);
    }

    fn a_query_that_makes_no_sense_is_refused(backend) {
        let app = TestApp::start(backend);

        for query in [
            "limit=0", "limit=201", "cursor=x", "slug=%C3%A4", "actor=root", "kind=link.made", "since=yesterday", "foo=1",
        ] {
            app.api("GET", &format!("/audit?{query}"), None).assert_problem(400, "malformed_query");
        }
        for query in ["until=-009000-01-01T00:00:00Z", "until=9999-12-30T21:59:59Z"] {
            assert_eq!(short(&app, query), Vec::<String>::new());
        }
    }

    fn only_keys_that_may_issue_keys_see_it(backend) {
        let app = TestApp::start(backend);
        let issued = app.api("POST", "/keys", Some(&json!({"name": "n", "scopes": ["links:read", "links:write"]})));
        let key = bearer(issued.json()["key"].as_str().unwrap());

        app.send("GET", "/api/v1/audit", &[], b"").assert_problem(401, "unauthenticated");
        app.send("GET", "/api/v1/audit", &[("authorization", &key)], b"").assert_problem(403, "insufficient_scope");
    }
}
