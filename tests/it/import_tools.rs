//! Imports as other tools leave them: spreadsheets, tools of MySQL, JSON that was formatted, short URLs of several segments.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::on_both_stores;
use crate::porting::{counts, import, problems, send};

#[track_caller]
fn expect(app: &TestApp, slug: &str, fields: &Value) {
    let answer = app.api("GET", &format!("/links/{slug}"), None);
    assert_eq!(answer.status, 200, "{slug}: {}", answer.body);
    let link = answer.json();
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&link[name], value, "{name} of {slug}");
    }
}

/// What is wrong with a file as a whole.
#[track_caller]
fn refused(app: &TestApp, query: &str, body: &[u8]) -> String {
    let problem = send(app, ADMIN_KEY, query, body).assert_problem(400, "malformed_import");
    problem["detail"].as_str().unwrap().to_owned()
}

on_both_stores! {
    /// `/promo/spring` became `/spring`, and a link really called that was a conflict.
    fn a_short_url_of_several_segments_is_refused_and_no_slug_is_altered(backend) {
        let app = TestApp::start(backend);
        let bitly = "Original URL,Short URL\nhttps://example.org/a,https://go.acme.example/promo/spring\nhttps://example.org/b,https://go.acme.example/spring\nhttps://example.org/c,http://go/\n";
        let yourls = r#"{"links":{"l1":{"shorturl":"https://sho.rt/docs/b2yk","url":"https://example.org/","title":"x","timestamp":"2020-01-01 10:00:00","ip":"","clicks":"1"},
            "l2":{"shorturl":"https://sho.rt","url":"https://example.org/","title":"x","timestamp":"2020-01-01 10:00:00","ip":"","clicks":"1"}}}"#;
        let shlink = "longUrl,shortUrl,visits\nhttps://example.org/,https://s.test/docs/b2intro,3\n";

        let from_bitly = import(&app, "", bitly.as_bytes());
        let from_yourls = import(&app, "", yourls.as_bytes());
        let from_shlink = import(&app, "", shlink.as_bytes());

        assert_eq!((&from_bitly["format"], counts(&from_bitly)), (&json!("bitly"), [1, 0, 0, 0, 2]), "{from_bitly}");
        assert_eq!(problems(&from_bitly), ["2 promo/spring refused /slug slug_invalid", "4 - refused /link missing"]);
        assert_eq!(problems(&from_yourls), ["1 docs/b2yk refused /slug slug_invalid", "2 - refused /shorturl missing"]);
        assert_eq!(problems(&from_shlink), ["2 docs/b2intro refused /slug slug_invalid"]);
        expect(&app, "spring", &json!({"url": "https://example.org/b"}));
        for none in ["promo", "docs", "b2yk", "b2intro", "go", "sho.rt"] {
            app.api("GET", &format!("/links/{none}"), None).assert_problem(404, "link_not_found");
        }
    }

    fn short_urls_below_a_path_are_taken_when_their_base_is_named(backend) {
        let app = TestApp::start(backend);
        let yourls = |slug: &str| format!(r#"{{"links":{{"l":{{"shorturl":"https://example.com/s/{slug}","url":"https://example.org/","title":"","timestamp":"2020-01-01 10:00:00","ip":"","clicks":"1"}}}}}}"#);

        let without = import(&app, "?format=yourls", yourls("below").as_bytes());
        let with = import(&app, "?format=yourls&base=https://example.com/s", yourls("below").as_bytes());
        let deeper = import(&app, "?format=yourls&base=https://example.com/s/", yourls("a/b").as_bytes());

        assert_eq!(problems(&without), ["1 s/below refused /slug slug_invalid"]);
        assert_eq!(counts(&with), [1, 0, 0, 0, 0], "{with}");
        assert_eq!(problems(&deeper), ["1 a/b refused /slug slug_invalid"]);
        send(&app, ADMIN_KEY, "?base=", b"{}").assert_problem(400, "malformed_query");
    }

    /// Each row of our own export was refused once a spreadsheet had saved it.
    fn an_own_export_comes_back_from_a_spreadsheet(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "sheet", "forward_query": true, "max_clicks": 1234, "title": "a;b"}));
        let export = app.api("GET", "/export?format=csv", None).body;
        assert!(export.contains(",true,") && export.contains(",false,"), "{export}");
        app.api("DELETE", "/links/sheet", None);

        let upper = export.replace("true", "TRUE").replace("false", "FALSE").replace("1234", "\"1,234\"");
        let report = import(&app, "", upper.as_bytes());

        assert_eq!(counts(&report), [1, 0, 0, 0, 0], "{report}");
        expect(&app, "sheet", &json!({"forward_query": true, "disabled": false, "max_clicks": 1234, "title": "a;b"}));
        let cells = "slug;url;forward_query;disabled;clicks;cache_seconds\nde;https://example.org/;WAHR;FALSCH;12.0;60\npy;https://example.org/;True;no;1,234;\nbad;https://example.org/;maybe;0;1.5;1.234\n";
        let report = import(&app, "", cells.as_bytes());
        assert_eq!(counts(&report), [2, 0, 0, 0, 1], "{report}");
        let pointers: Vec<&str> = report["problems"][0]["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, ["/cache_seconds", "/forward_query", "/clicks"]);
        expect(&app, "de", &json!({"forward_query": true, "disabled": false, "clicks": 12, "cache_seconds": 60}));
        expect(&app, "py", &json!({"forward_query": true, "disabled": false, "clicks": 1234}));
    }

    /// `\"` damaged titles in silence, and NULL became a title.
    fn tables_of_mysqls_tools_are_read_as_they_are_meant(backend) {
        let app = TestApp::start(backend);
        let table = concat!(
            "\"keyword\",\"url\",\"title\",\"timestamp\",\"ip\",\"clicks\"\n",
            "\"first\",\"https://example.org/1\",\"back\\\\slash\",\"2020-01-01 10:00:00\",\"\",\"1\"\n",
            "\"quoted\",\"https://example.org/2\",\"it \\\"x\\\"\",\"2020-01-01 10:00:00\",\"\",\"1\"\n",
            "\"comma\",\"https://example.org/3\",\"say \\\"hi\\\", ok\",\"2020-01-01 10:00:00\",\"\",\"1\"\n",
            "\"none\",\"https://example.org/4\",NULL,\"2020-01-01 10:00:00\",\\N,\"1\"\n",
            "\"word\",\"https://example.org/5\",\"NULL\",\"2020-01-01 10:00:00\",\"\",\"1\"\n",
        );

        let report = import(&app, "", table.as_bytes());

        assert_eq!((&report["format"], counts(&report)), (&json!("yourls"), [5, 0, 0, 0, 0]), "{report}");
        for (slug, title) in [("first", json!("back\\slash")), ("quoted", json!("it \"x\"")), ("comma", json!("say \"hi\", ok")), ("none", Value::Null), ("word", json!("NULL"))] {
            expect(&app, slug, &json!({"title": title}));
        }
        // A table of RFC 4180 has backslashes that escape nothing, and ours a title that is this word.
        let plain = "keyword,url,title\nrfc,https://example.org/,\"C:\\dir\\\"\n";
        assert_eq!(counts(&import(&app, "", plain.as_bytes())), [1, 0, 0, 0, 0]);
        expect(&app, "rfc", &json!({"title": "C:\\dir\\"}));
        assert_eq!(counts(&import(&app, "", b"slug,url,title\nown,https://example.org/,NULL\n")), [1, 0, 0, 0, 0]);
        expect(&app, "own", &json!({"title": "NULL"}));
    }

    /// Its two header objects were counted as refused.
    fn the_json_of_phpmyadmin_holds_only_its_rows(backend) {
        let app = TestApp::start(backend);
        let dump = r#"[
{"type":"header","version":"5.2.1","comment":"Export to JSON plugin for phpMyAdmin"},
{"type":"database","name":"yourls"},
{"type":"table","name":"yourls_url","database":"yourls","data":
[
{"keyword":"php1","url":"https://example.org/1","title":"One","timestamp":"2020-01-01 10:00:00","ip":"","clicks":"7"},
{"keyword":"php2","url":"https://example.org/2","title":null,"timestamp":"2020-01-01 10:00:00","ip":"","clicks":"0"}
]
}
]
"#;

        let report = import(&app, "", dump.as_bytes());

        assert_eq!((&report["format"], counts(&report), &report["read"]), (&json!("yourls"), [2, 0, 0, 0, 0], &json!(2)), "{report}");
        expect(&app, "php1", &json!({"title": "One", "clicks": 7}));
        assert_eq!(import(&app, "?skip=1", dump.as_bytes())["unchanged"], 1);
        // None at all is an error of the file.
        assert!(refused(&app, "?format=yourls", br#"[{"type":"header"},{"type":"database"}]"#).contains("no object"));
    }

    /// Only commas separated columns.
    fn columns_may_be_separated_by_semicolons_or_tabs(backend) {
        let app = TestApp::start(backend);
        let rows = [
            ("semi", "slug;url;title\nsemi;https://example.org/;\"a;b, c\"\n", json!("a;b, c")),
            ("tab", "slug\turl\ttitle\ntab\thttps://example.org/\ta, b\n", json!("a, b")),
            ("excel", "sep=;\r\nslug;url;title\r\nexcel;https://example.org/;x\r\n", json!("x")),
            ("mac", "slug;url;title\rmac;https://example.org/;x\r", json!("x")),
            ("comma", "slug,url,title\ncomma,https://example.org/,a;b\n", json!("a;b")),
        ];
        for (slug, table, title) in rows {
            let report = import(&app, "", table.as_bytes());

            assert_eq!((&report["format"], counts(&report)), (&json!("csv"), [1, 0, 0, 0, 0]), "{slug}: {report}");
            expect(&app, slug, &json!({"title": title}));
        }
        let yourls = "keyword;url;title\nyou;https://example.org/;x\n";
        assert_eq!(import(&app, "", yourls.as_bytes())["format"], "yourls");
        let report = import(&app, "?format=csv", b"sep=;\r\nslug;url\r\nbad slug;https://example.org/\r\n");
        assert_eq!(problems(&report), ["3 bad slug refused /slug slug_invalid"]);
    }

    /// It was a success that had read nothing.
    fn a_table_without_the_columns_of_a_link_is_refused_as_a_whole(backend) {
        let app = TestApp::start(backend);

        for (query, table, said) in [
            ("?format=csv", "zz4,https://example.org/\n", "`slug`"),
            ("?format=csv", "slug|url\nzz|https://example.org/\n", "comma, a semicolon or a tab"),
            ("?format=csv", "slug,title\nzz,x\n", "`url`"),
            ("?format=yourls", "slug,url\nzz,https://example.org/\n", "`keyword`"),
            ("?format=shlink", "shortCode,url\nzz,https://example.org/\n", "`longurl`"),
            ("?format=bitly", "slug,url\nzz,https://example.org/\n", "`link`"),
            ("?format=csv", "slug;url,x\nzz;https://example.org/\n", "`slug`"),
            ("?format=csv", "slug,url\u{fffd}\n", "`url`"),
        ] {
            let detail = refused(&app, query, table.as_bytes());
            assert!(detail.contains(said), "{table}: {detail}");
        }
        assert!(refused(&app, "", b"\xff\xfes\0l\0u\0g\0,\0u\0r\0l\0\n\0").contains("UTF-16"));
        assert!(refused(&app, "?format=csv", b"\xfe\xff\0s").contains("UTF-16"));
        // A header alone is a table of no links.
        assert_eq!(counts(&import(&app, "?format=csv", b"slug,url\n")), [0; 5]);
        assert_eq!(app.api("GET", "/links", None).json()["links"], json!([]));
    }

    /// `jq .` made a file of it of which every line was refused.
    fn json_is_read_however_it_is_formatted(backend) {
        let app = TestApp::start(backend);
        let one = "{\n \"slug\": \"one\",\n \"url\": \"https://example.org/\"\n}\n";
        let two = "{\n  \"slug\": \"two\",\n  \"url\": \"https://example.org/\"\n}\n{\n  \"slug\": \"three\",\n  \"url\": \"https://example.org/\"\n}\n";
        let list = "{\n  \"links\": [\n    {\n      \"slug\": \"four\",\n      \"url\": \"https://example.org/\"\n    }\n  ],\n  \"next_cursor\": null\n}\n";

        assert_eq!(counts(&import(&app, "", one.as_bytes())), [1, 0, 0, 0, 0]);
        assert_eq!(counts(&import(&app, "?format=ndjson", two.as_bytes())), [2, 0, 0, 0, 0]);
        assert_eq!(counts(&import(&app, "", list.as_bytes())), [1, 0, 0, 0, 0]);
        let answer = app.api("GET", "/links", None).body;
        let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&answer).unwrap()).unwrap();
        for text in [answer, pretty] {
            assert_eq!(counts(&import(&app, "", text.as_bytes())), [0, 4, 0, 0, 0], "{text}");
        }
        // An object a line: a broken one is refused alone, be it the first.
        let report = import(&app, "?format=ndjson", b"{\"slug\":\"bad\",\"url\":\n{\"slug\":\"five\",\"url\":\"https://example.org/\"}\n");
        assert_eq!(counts(&report), [1, 0, 0, 0, 1], "{report}");
    }
}

#[test]
fn a_table_is_the_same_wherever_its_pieces_are_cut() {
    let app = TestApp::start(Backend::Sqlite);
    // Pieces are of 16 KiB: what stands before moves each of these over their edge.
    for at in 0..30 {
        let filler = "x".repeat(5400);
        let blank = "\n".repeat(4 + at);
        let table = format!(
            "keyword,url,title{blank}a{at},https://example.org/?{filler},x\nb{at},https://example.org/?{filler},x\nc{at},https://example.org/?{filler},\"say \\\"hi\\\" \\\\ ok\"\nd{at},https://example.org/,NULL"
        );

        let report = import(&app, "", table.as_bytes());

        assert_eq!(counts(&report), [4, 0, 0, 0, 0], "{at}: {}", report["problems"]);
        expect(&app, &format!("c{at}"), &json!({"title": "say \"hi\" \\ ok"}));
        expect(&app, &format!("d{at}"), &json!({"title": null}));
    }
}
