//! Lists and searches.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::on_both_stores;

fn slugs(answer: &Value) -> Vec<String> {
    let links = answer["links"].as_array().unwrap_or_else(|| panic!("{answer}"));
    links
        .iter()
        .map(|link| link["slug"].as_str().unwrap().to_owned())
        .collect()
}

fn list(app: &TestApp, query: &str) -> Vec<String> {
    let answer = app.api("GET", &format!("/links?{query}"), None);
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    slugs(&answer.json())
}

on_both_stores! {
    fn a_list_shows_whole_links_newest_first(backend) {
        let app = TestApp::start(backend);
        assert_eq!(app.api("GET", "/links", None).json(), json!({"links": [], "next_cursor": null}));
        let first = app.create(json!({"url": "https://example.org/1", "slug": "zz-first", "tags": ["a"]}));
        let second = app.create(json!({"url": "https://example.org/2", "slug": "aa-second"}));

        let answer = app.api("GET", "/links", None);

        assert_eq!(answer.json(), json!({"links": [second, first], "next_cursor": null}));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }

    fn pages_hold_every_link_once_whatever_is_made_meanwhile(backend) {
        let app = TestApp::start(backend);
        for n in 0..7 {
            app.create(json!({"url": "https://example.org/", "slug": format!("link-{n}")}));
        }

        let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = app.api("GET", &format!("/links?limit=3{cursor}"), None).json();
            sizes.push(page["links"].as_array().unwrap().len());
            seen.extend(slugs(&page));
            app.create(json!({"url": "https://example.org/"}));
            app.api("DELETE", "/links/link-6", None);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }

        assert_eq!(seen, ["link-6", "link-5", "link-4", "link-3", "link-2", "link-1", "link-0"]);
        assert_eq!(sizes, [3, 3, 1]);
    }

    /// The query was compared with the serialised form alone.
    fn a_search_finds_what_people_type(backend) {
        let app = TestApp::start_with(backend, &[("BASE_URL", "https://go.short.example")]);
        app.create(json!({"url": "https://münchen.example/straße", "slug": "c1pb"}));
        app.create(json!({"url": "https://de.wikipedia.example/wiki/M%C3%BCnchen", "slug": "c1pc"}));
        app.create(json!({"url": "https://example.org/a b/c1pb?q=x y", "slug": "c1pd", "tags": ["t"]}));
        app.create(json!({"url": "https://example.org/ü", "slug": "x"}));
        let find = |text: &str| {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
            list(&app, &query)
        };

        assert_eq!(find("münchen"), ["c1pc", "c1pb"]);
        assert_eq!(find("MÜNCHEN"), ["c1pc", "c1pb"]);
        assert_eq!(find("xn--mnchen"), ["c1pb"]);
        assert_eq!(find("straße"), ["c1pb"]);
        assert_eq!(find("münchen.example/straße"), ["c1pb"]);
        assert_eq!(find("https://münchen.example/straße"), ["c1pb"]);
        assert_eq!(find("wiki/München"), ["c1pc"]);
        assert_eq!(find("a b/c1pb"), ["c1pd"]);
        assert_eq!(find("ü"), ["x", "c1pc"], "shorter than the index of the search knows");
        for text in [" c1pc", "c1pc\n", "\u{200b}c1pc"] {
            assert_eq!(find(text), ["c1pc"], "{text:?}");
        }
        assert_eq!(find("  ").len(), 4);
        for text in ["https://go.short.example/c1pb", "go.short.example/c1pb", "GO.SHORT.example/c1pb?x=1", "https://go.short.example/c1pb+"] {
            assert_eq!(find(text), ["c1pb"], "{text}");
        }
        assert_eq!(find("/c1pb"), ["c1pb", "c1pd"], "the link, then what else has the text");
        assert_eq!(find("https://go.short.example/none"), Vec::<String>::new());
        assert_eq!(find(&format!("http://127.0.0.1:{}/x", app.port)), ["x"]);
        assert_eq!(find("go.short.example/x"), ["x"]);
        // The other filters hold, and so does the size of a page.
        assert_eq!(list(&app, "q=%2Fc1pb&tag=t"), ["c1pd"]);
        assert_eq!(list(&app, "q=%2Fc1pb&state=disabled"), Vec::<String>::new());
        assert_eq!(list(&app, "q=%2Fc1pb&limit=1"), ["c1pd"]);
        assert_eq!(list(&app, "q=go.short.example%2Fc1pb&limit=1"), ["c1pb"]);
        let mut tab = crate::manage_pages::signed_in(&app, crate::app::ADMIN_KEY);
        tab.go("/app?q=https%3A%2F%2Fgo.short.example%2Fc1pb");
        assert!(tab.body.contains("/app/links/c1pb") && !tab.body.contains("/app/links/c1pd"), "{}", tab.body);
    }

    fn the_default_page_has_50_links_and_the_largest_200(backend) {
        let app = TestApp::start(backend);
        for _ in 0..60 {
            app.create(json!({"url": "https://example.org/"}));
        }

        assert_eq!(list(&app, "").len(), 50);
        assert_eq!(list(&app, "limit=1").len(), 1);
        assert_eq!(list(&app, "limit=200").len(), 60);
    }

    fn a_search_finds_parts_of_slug_target_and_title_in_any_case(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://one.example/", "slug": "Summer-sale"}));
        app.create(json!({"url": "https://two.example/SUMMERtime", "slug": "b2"}));
        app.create(json!({"url": "https://three.example/", "slug": "c3", "title": "Last summer, 100%_sure \\ \"quoted\""}));
        app.create(json!({"url": "https://four.example/", "slug": "d4", "title": "winter"}));

        assert_eq!(list(&app, "q=sUmMeR"), ["c3", "b2", "Summer-sale"]);
        assert_eq!(list(&app, "q=sale"), ["Summer-sale"]);
        assert_eq!(list(&app, "q=100%25_"), ["c3"]);
        assert_eq!(list(&app, "q=%5C%20%22quot"), ["c3"]);
        for short in ["r-", "R-"] {
            assert_eq!(list(&app, &format!("q={short}")), ["Summer-sale"]);
        }
        assert_eq!(list(&app, "q=%25_"), ["c3"]);
        for absent in ["q=%25%25%25", "q=___", "q=sum_er", "q=summer%20-sale", "q=OR", "q=slug%3Ab2", "q=%27%3B--"] {
            let expected: &[&str] = if absent == "q=OR" { &["d4"] } else { &[] };
            let found = list(&app, absent);
            assert!(found.is_empty() || absent == "q=OR", "{absent}: {found:?} {expected:?}");
        }
    }

    fn a_search_follows_changes(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/before", "slug": "moved", "title": "old name", "tags": ["x", "y"]}));

        app.api("PATCH", "/links/moved", Some(&json!({"url": "https://example.org/after", "title": null, "tags": ["z", "y", "z"]})));

        for (query, found) in [("q=before", false), ("q=old%20name", false), ("q=after", true), ("tag=x", false), ("tag=y", true), ("tag=z", true)] {
            assert_eq!(list(&app, query).len(), usize::from(found), "{query}");
        }
        app.api("DELETE", "/links/moved", None);
        for query in ["q=after", "tag=z", "q=a", ""] {
            assert_eq!(list(&app, query).len(), 0, "{query}");
        }
    }

    fn tags_and_searches_go_together(backend) {
        let app = TestApp::start(backend);
        for n in 0..4 {
            let tags = if n % 2 == 0 { json!(["even", "n,\"x\""]) } else { json!(["odd", "Even"]) };
            app.create(json!({"url": format!("https://example.org/page{n}"), "slug": format!("t{n}"), "tags": tags}));
        }

        assert_eq!(list(&app, "tag=even"), ["t2", "t0"]);
        assert_eq!(list(&app, "tag=n%2C%22x%22&limit=1"), ["t2"]);
        assert_eq!(list(&app, "tag=even&q=page2"), ["t2"]);
        assert_eq!(list(&app, "tag=even&q=t0"), ["t0"]);
        assert_eq!(list(&app, "tag=eve").len(), 0);
    }

    fn every_link_is_in_one_state(backend) {
        let app = TestApp::start(backend);
        let rows = [
            ("plain", json!({})),
            ("begun", json!({"valid_from": "2026-11-21T02:00:00Z", "expires_at": "2026-11-22T00:00:00Z"})),
            ("later", json!({"valid_from": "2026-11-21T02:30:00Z"})),
            ("ended", json!({"expires_at": "2026-11-21T02:00:00Z"})),
            ("used", json!({"max_clicks": 1})),
            ("unused", json!({"max_clicks": 2})),
            ("down", json!({"expires_at": "2026-11-21T02:00:00Z"})),
        ];
        for (slug, mut body) in rows {
            body["url"] = json!("https://example.org/");
            body["slug"] = json!(slug);
            app.create(body);
        }
        app.get("/used");
        app.api("PATCH", "/links/down", Some(&json!({"disabled": true})));

        assert_eq!(list(&app, "state=live"), ["unused", "begun", "plain"]);
        assert_eq!(list(&app, "state=scheduled"), ["later"]);
        assert_eq!(list(&app, "state=expired"), ["used", "ended"]);
        assert_eq!(list(&app, "state=disabled"), ["down"]);
        app.clock.advance(Duration::from_secs(3600));
        assert_eq!(list(&app, "state=live&q=example"), ["unused", "later", "begun", "plain"]);
        assert_eq!(list(&app, "state=scheduled").len(), 0);
    }

    fn a_query_that_is_not_understood_is_400(backend) {
        let app = TestApp::start(backend);
        for n in 0..2 {
            app.create(json!({"url": "https://example.org/", "slug": format!("l{n}")}));
        }
        let cursor = app.api("GET", "/links?limit=1", None).json()["next_cursor"].as_str().unwrap().to_owned();
        let mut broken = vec![String::new(), "x".to_owned(), "0".repeat(24), cursor[1..].to_owned(), format!("{cursor}0"), cursor.to_uppercase() + "A"];
        for at in [0, 5, 15, 16, 23] {
            let mut typed = cursor.clone().into_bytes();
            typed[at] = if typed[at] == b'0' { b'1' } else { b'0' };
            broken.push(String::from_utf8(typed).unwrap());
        }
        let mut queries: Vec<String> = broken.iter().map(|text| format!("cursor={text}")).collect();
        queries.extend(
            ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=99999999999999999999", "q=", "tag=", "state=", "state=Live",
             "bogus=1", "limit=1&limit=1", "q=%00", "q=%ff", "tag=a%00"].map(str::to_owned),
        );
        queries.push(format!("q={}", "x".repeat(201)));
        queries.push(format!("tag={}", "x".repeat(65)));

        for query in queries {
            app.api("GET", &format!("/links?{query}"), None).assert_problem(400, "malformed_query");
        }
        assert_eq!(list(&app, &format!("cursor={cursor}")), ["l0"]);
    }

    fn a_list_needs_a_key(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);

        app.send("GET", "/api/v1/links", &[], b"").assert_problem(401, "unauthenticated");
    }
}
