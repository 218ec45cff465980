//! Links as others export them, and input that means no good.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::on_both_stores;
use crate::porting::{counts, import, problems, send};

fn link(app: &TestApp, slug: &str) -> Value {
    let answer = app.api("GET", &format!("/links/{slug}"), None);
    assert_eq!(answer.status, 200, "{slug}: {}", answer.body);
    answer.json()
}

/// Asserts on some fields of a link.
#[track_caller]
fn expect(app: &TestApp, slug: &str, fields: &Value) {
    let link = link(app, slug);
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&link[name], value, "{name} of {slug}");
    }
}

const YOURLS: &str = r#"{
  "links": {
    "link_1": {"shorturl": "https://sho.rt/ozh", "url": "https://ozh.org/", "title": "Ozh", "timestamp": "2013-03-05 10:20:30", "ip": "203.0.113.7", "clicks": "12"},
    "link_2": {"shorturl": "https://sho.rt/a.b", "url": "https://example.org/", "title": "", "timestamp": "2013-03-05 10:20:30", "ip": "203.0.113.7", "clicks": "3"}
  },
  "stats": {"total_links": "2", "total_clicks": "15"},
  "statusCode": "200",
  "message": "success"
}
"#;

const SHLINK: &str = r#"{"shortUrls":{"data":[
 {"shortCode":"12C18","shortUrl":"https://s.test/12C18","longUrl":"https://store.steampowered.com/","dateCreated":"2016-08-21T20:34:16+02:00",
  "visitsSummary":{"total":328,"nonBots":285,"bots":43},"tags":["games","tech"],"meta":{"validSince":"2017-01-21T00:00:00+02:00","validUntil":null,"maxVisits":1000},
  "domain":null,"title":"Welcome","crawlable":false,"forwardQuery":true,"hasRedirectRules":false},
 {"shortCode":"a/b","shortUrl":"https://s.test/a/b","longUrl":"https://example.org/","dateCreated":"2016-08-21T20:34:16+02:00",
  "visitsSummary":{"total":0,"nonBots":0,"bots":0},"tags":[],"meta":{"validSince":null,"validUntil":null,"maxVisits":null},
  "domain":null,"title":null,"crawlable":false,"forwardQuery":true,"hasRedirectRules":false},
 {"shortCode":"rules","shortUrl":"https://s.test/rules","longUrl":"https://example.org/","dateCreated":"2016-08-21T20:34:16+02:00","tags":[],"meta":{},"hasRedirectRules":true}
],"pagination":{"currentPage":1,"pagesCount":2,"itemsPerPage":3,"itemsInCurrentPage":3,"totalItems":4}}}
{"shortUrls":{"data":[{"shortCode":"page2","shortUrl":"https://s.test/page2","longUrl":"https://example.org/2","dateCreated":"2020-01-01T00:00:00Z","visitsCount":4,"tags":[],"meta":{}}],"pagination":{"currentPage":2}}}
"#;

const KUTT: &str = r#"{"total":3,"limit":10,"skip":0,"data":[
 {"address":"kutt1","banned":false,"created_at":"2018-07-10T18:02:00.000Z","description":"a page","expire_in":"2030-01-01T00:00:00.000Z","id":"5a7ac2a4","link":"https://kutt.test/kutt1","password":false,"target":"https://example.org/k","updated_at":"2018-08-10T18:02:00.000Z","visit_count":6},
 {"address":"kutt2","banned":true,"created_at":"2018-07-10T18:02:00.000Z","description":null,"id":"x","link":"https://kutt.test/kutt2","password":false,"target":"https://example.org/k2","updated_at":"2018-07-10T18:02:00.000Z","visit_count":0},
 {"address":"kutt3","banned":false,"created_at":"2018-07-10T18:02:00.000Z","id":"y","link":"https://kutt.test/kutt3","password":true,"target":"https://example.org/k3","updated_at":"2018-07-10T18:02:00.000Z","visit_count":0}
]}"#;

const BITLY: &str = "\u{feff}Link,Custom Link,Destination URL,Title,Created At,Tags,Total Engagements\r\n\
https://go.test/3xYz,https://go.test/spring,https://example.org/spring,\"Spring, sale\",2023-01-05T14:23:11+0000,\"a,b\",17\r\n\
https://bit.ly/3abc,https://go.test/custom,https://example.org/custom,,2023-01-05 14:23:11,,2\r\n\
https://bit.ly/3def,,https://example.org/plain,,2023-01-05,,0\r\n";

on_both_stores! {
    fn yourls_stats_are_taken(backend) {
        let app = TestApp::start(backend);

        let report = import(&app, "", YOURLS.as_bytes());

        assert_eq!((&report["format"], &report["guessed"]), (&json!("yourls"), &json!(true)));
        assert_eq!(counts(&report), [1, 0, 0, 0, 1]);
        assert_eq!(problems(&report), ["4 a.b refused /slug slug_invalid"]);
        expect(&app, "ozh", &json!({"url": "https://ozh.org/", "title": "Ozh", "clicks": 12,
            "created_at": "2013-03-05T10:20:30Z", "redirect_status": 302}));
        let csv = import(&app, "", b"keyword,url,title,timestamp,ip,clicks\nozh,https://ozh.org/,Ozh,2013-03-05 10:20:30,203.0.113.7,12\n");
        assert_eq!((&csv["format"], counts(&csv)), (&json!("yourls"), [0, 1, 0, 0, 0]));
    }

    fn pages_of_shlink_are_taken_one_after_the_other(backend) {
        let app = TestApp::start(backend);

        let report = import(&app, "?format=shlink", SHLINK.as_bytes());

        assert_eq!(counts(&report), [2, 0, 0, 0, 2], "{report}");
        assert_eq!(problems(&report), ["5 a/b refused /slug slug_invalid", "8 rules refused /hasRedirectRules not_supported"]);
        expect(&app, "12C18", &json!({"url": "https://store.steampowered.com/", "title": "Welcome", "tags": ["games", "tech"],
            "clicks": 285, "max_clicks": 1000, "forward_query": true, "created_at": "2016-08-21T18:34:16Z",
            "valid_from": "2017-01-20T22:00:00Z", "expires_at": null}));
        expect(&app, "page2", &json!({"clicks": 4, "created_at": "2020-01-01T00:00:00Z"}));
        assert_eq!(import(&app, "", SHLINK.as_bytes())["format"], "shlink");
    }

    fn kutt_links_are_taken_but_for_those_with_a_password(backend) {
        let app = TestApp::start(backend);

        let report = import(&app, "", KUTT.as_bytes());

        assert_eq!((&report["format"], counts(&report)), (&json!("kutt"), [2, 0, 0, 0, 1]));
        assert_eq!(problems(&report), ["4 kutt3 refused /password not_supported"]);
        expect(&app, "kutt1", &json!({"url": "https://example.org/k", "title": "a page", "clicks": 6, "disabled": false,
            "expires_at": "2030-01-01T00:00:00Z", "created_at": "2018-07-10T18:02:00Z", "updated_at": "2018-08-10T18:02:00Z"}));
        expect(&app, "kutt2", &json!({"disabled": true, "title": null}));
    }

    fn bitlys_table_is_taken_with_both_names_of_a_link(backend) {
        let app = TestApp::start(backend);

        let report = import(&app, "", BITLY.as_bytes());

        assert_eq!((&report["format"], counts(&report)), (&json!("bitly"), [4, 0, 0, 0, 0]), "{report}");
        expect(&app, "spring", &json!({"url": "https://example.org/spring", "title": "Spring, sale", "tags": ["a", "b"],
            "clicks": 17, "created_at": "2023-01-05T14:23:11Z"}));
        expect(&app, "3xYz", &json!({"url": "https://example.org/spring", "clicks": 0}));
        expect(&app, "custom", &json!({"created_at": "2023-01-05T14:23:11Z", "clicks": 2}));
        expect(&app, "3def", &json!({"created_at": "2023-01-05T00:00:00Z"}));
        app.api("GET", "/links/3abc", None).assert_problem(404, "link_not_found");
    }

    fn each_broken_line_is_refused_alone_and_named(backend) {
        let app = TestApp::start_with(backend, &[("BLOCKED_DOMAINS", "evil.example"), ("OWN_HOSTS", "go.example.com")]);
        let long = "x".repeat(70_000);
        let deep = "[".repeat(200);
        let lines: Vec<Vec<u8>> = vec![
            br#"{"slug":"good1","url":"https://example.org/"}"#.to_vec(),
            br#"{"slug":"bad","url":"#.to_vec(),
            b"{\"slug\":\"utf\",\"url\":\"https://example.org/\xff\"}".to_vec(),
            b"".to_vec(),
            b"[1]".to_vec(),
            format!(r#"{{"slug":"long","url":"https://example.org/","title":"{long}"}}"#).into_bytes(),
            format!(r#"{{"slug":"deep","url":{deep}}}"#).into_bytes(),
            br#"{"url":"https://example.org/"}"#.to_vec(),
            br#"{"slug":"nourl"}"#.to_vec(),
            br#"{"slug":"admin","url":"https://example.org/"}"#.to_vec(),
            br#"{"slug":"own","url":"https://go.example.com/x"}"#.to_vec(),
            br#"{"slug":"self","url":"http://127.0.0.1/x"}"#.to_vec(),
            br#"{"slug":"evil","url":"https://a.evil.example/"}"#.to_vec(),
            br#"{"slug":"script","url":"javascript:alert(1)"}"#.to_vec(),
            br#"{"slug":"typo","url":"https://example.org/","expire_at":"2030-01-01T00:00:00Z"}"#.to_vec(),
            br#"{"slug":"early","url":"https://example.org/","created_at":"1969-01-01T00:00:00Z"}"#.to_vec(),
            br#"{"slug":"minus","url":"https://example.org/","clicks":-1}"#.to_vec(),
            br#"{"slug":"huge","url":"https://example.org/","clicks":99999999999999999999}"#.to_vec(),
            br#"{"slug":"nul","url":"https://example.org/","title":"a\u0000b"}"#.to_vec(),
            br#"{"slug":5,"url":"https://example.org/"}"#.to_vec(),
            br#"{"slug":"good2","url":"https://example.org/","title":""}"#.to_vec(),
            br#"{"slug":"most","url":"https://example.org/","clicks":1000000000000000}"#.to_vec(),
            br#"{"slug":"more","url":"https://example.org/","clicks":1000000000000001}"#.to_vec(),
        ];

        let report = import(&app, "?format=ndjson", &lines.join(&b"\r\n"[..]));

        assert_eq!(counts(&report), [3, 0, 0, 0, 19], "{report}");
        assert_eq!(problems(&report), [
            "2 - refused  malformed", "3 - refused  malformed", "5 - refused  malformed", "6 - refused  too_long",
            "7 - refused  malformed", "8 - refused /slug missing", "9 nourl refused /url missing",
            "10 admin refused /slug slug_reserved", "11 own refused /url own_host", "12 self refused /url own_host",
            "13 evil refused /url blocked_domain", "14 script refused /url scheme_not_allowed",
            "15 typo refused /expire_at unknown_field", "16 early refused /created_at out_of_range",
            "17 minus refused /clicks out_of_range", "18 huge refused /clicks wrong_type",
            "19 nul refused /title out_of_range", "20 - refused /slug wrong_type", "23 more refused /clicks out_of_range",
        ]);
        assert!(!report.to_string().contains("alert(1)"), "a target may be a secret: {report}");
    }

    fn rows_of_a_table_are_judged_one_by_one(backend) {
        let app = TestApp::start(backend);
        let long = "x".repeat(70_000);
        let mut table = b"slug,URL, title \r\n".to_vec();
        table.extend_from_slice(b"ok,https://example.org/,\"two\r\nlines, \"\"quoted\"\"\"\r\n\r\n");
        table.extend_from_slice(b"short,https://example.org/\r\n");
        table.extend_from_slice(b"utf,https://example.org/,\xff\xfe\r\n");
        table.extend_from_slice(format!("long,https://example.org/,{long}\r\n").as_bytes());
        table.extend_from_slice(b"last,https://example.org/,");

        let report = import(&app, "?format=csv", &table);

        assert_eq!(counts(&report), [2, 0, 0, 0, 3], "{report}");
        assert_eq!(problems(&report), ["5 - refused  malformed", "6 - refused  malformed", "7 - refused  too_long"]);
        expect(&app, "ok", &json!({"title": "two\r\nlines, \"quoted\""}));
        expect(&app, "last", &json!({"title": null}));
    }

    fn what_cannot_be_read_is_said_and_what_came_before_it_stays(backend) {
        let app = TestApp::start(backend);
        let refused = |query: &str, body: &[u8]| {
            let problem = send(&app, ADMIN_KEY, query, body).assert_problem(400, "malformed_import");
            problem["detail"].as_str().unwrap().to_owned()
        };

        assert!(refused("", b"hello\nworld\n").contains("not recognised"));
        assert!(refused("", br#"{"error":"no"}"#).contains("not recognised"));
        assert!(refused("?format=csv", b"slug,url,slug\n").contains("twice"));
        assert!(refused("?format=csv", b"slug,\xff\n").contains("UTF-8"));
        assert!(refused("?format=kutt", br#"{"data":[{"address":"a"]}"#).contains("do not match"));
        assert!(refused("?format=kutt", b"[[[[ oops").contains("ends in the middle"));
        assert!(refused("?format=kutt", "[".repeat(100).as_bytes()).contains("too deeply"));
        assert!(refused("?format=shlink", b"{}\n true").contains("Line 2"));
        let cut = KUTT.replace("\n]}", "\n");
        assert!(refused("", cut.as_bytes()).contains("ends in the middle"));
        expect(&app, "kutt1", &json!({"clicks": 6}));
        send(&app, ADMIN_KEY, "?format=tinyurl", b"{}").assert_problem(400, "malformed_query");
        assert_eq!(counts(&import(&app, "", b"")), [0; 5]);
    }

    fn a_report_is_bounded_whatever_is_sent(backend) {
        let app = TestApp::start(backend);
        let body = "{}\n".repeat(5000);

        let report = import(&app, "?format=ndjson", body.as_bytes());

        assert_eq!(counts(&report), [0, 0, 0, 0, 5000]);
        assert_eq!(report["problems"].as_array().unwrap().len(), 1000);
        assert_eq!(report["problems_left_out"], 4000);
    }
}

#[test]
fn a_long_title_of_others_is_cut_and_counted() {
    let app = TestApp::start(Backend::Sqlite);
    let title = "ü".repeat(300);
    let body = format!("keyword,url,title\nlong,https://example.org/,{title}\n");

    let report = import(&app, "", body.as_bytes());

    assert_eq!(
        (counts(&report), &report["titles_cut"]),
        ([1, 0, 0, 0, 0], &json!(1))
    );
    expect(&app, "long", &json!({"title": "ü".repeat(200)}));
}

#[test]
fn a_link_is_found_wherever_the_pieces_of_the_input_are_cut() {
    let app = TestApp::start(Backend::Sqlite);
    // Pieces are of 16 KiB: what stands before moves each of these over their edge.
    for at in 0..40 {
        let blank = " ".repeat(16 * 1024 - 1 - at * 7);
        for (format, text) in [("yourls", YOURLS), ("shlink", SHLINK), ("kutt", KUTT)] {
            let report = import(
                &app,
                &format!("?format={format}"),
                format!("{blank}{text}").as_bytes(),
            );
            assert_eq!(
                report["refused"],
                if format == "shlink" { 2 } else { 1 },
                "{format} {at}: {report}"
            );
        }
    }
}
