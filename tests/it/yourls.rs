//! The API of YOURLS, and requests of programs that were written for it.

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, Backend, TestApp};
use crate::keys_api::{issue, key_for};
use crate::on_both_stores;

const ON: [(&str, &str); 2] = [("YOURLS_API", "true"), ("BASE_URL", "https://go.example.com")];

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// A request by `POST`, with a key of every scope.
fn ask(app: &TestApp, pairs: &[(&str, &str)]) -> Answer {
    let mut all = vec![("signature", ADMIN_KEY), ("format", "json")];
    all.extend_from_slice(pairs);
    app.send("POST", "/yourls-api.php", &[FORM], encoded(&all).as_bytes())
}

fn fields(answer: &Answer, names: &[&str]) -> Vec<Value> {
    let body = answer.json();
    names.iter().map(|name| body[*name].clone()).collect()
}

on_both_stores! {
    fn sharex_gets_the_short_url_and_nothing_else(backend) {
        let app = TestApp::start_with(backend, &ON);
        let key = key_for(&app, &["links:create"]);
        // As SendRequestMultiPart writes the arguments of YourlsURLShortener.
        let boundary = "--------------------8dd2c5f2b1a0e3f";
        let mut body = String::new();
        for (name, value) in [("signature", key.as_str()), ("action", "shorturl"), ("url", "https://example.org/a?b=c&d=ü#e"), ("format", "simple")] {
            body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        body += &format!("--{boundary}--\r\n");
        let kind = format!("multipart/form-data; boundary={boundary}");

        let answer = app.send("POST", "/yourls-api.php", &[("content-type", &kind), ("user-agent", "ShareX/17.0.0")], body.as_bytes());

        assert_eq!(answer.status, 200, "{}", answer.body);
        let slug = answer.body.strip_prefix("https://go.example.com/").unwrap();
        assert_eq!(app.get(&format!("/{slug}")).header("location"), Some("https://example.org/a?b=c&d=%C3%BC#e"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }

    fn privatebin_gets_a_status_code_and_a_short_url(backend) {
        let app = TestApp::start_with(backend, &ON);
        let key = key_for(&app, &["links:create"]);
        // As http_build_query writes the payload of YourlsProxy.
        let link = "https://paste.example.org/?1234567890abcdef#8Tz4xVrnsdFqpGHRcRpS";
        let body = encoded(&[("signature", &key), ("format", "json"), ("action", "shorturl"), ("url", link)]);

        let answer = app.send("POST", "/yourls-api.php", &[FORM], body.as_bytes());

        // file_get_contents gives nothing for a status of 400 and more.
        assert_eq!(answer.status, 200, "{}", answer.body);
        let data = answer.json();
        assert_eq!(data["statusCode"].as_str().unwrap().parse::<i32>().unwrap(), 200);
        let short = data["shorturl"].as_str().unwrap();
        let slug = short.strip_prefix("https://go.example.com/").unwrap();
        assert_eq!(app.get(&format!("/{slug}")).header("location"), Some(link));
    }

    fn a_link_is_made_in_the_words_of_yourls(backend) {
        let app = TestApp::start_with(backend, &ON);

        let made = ask(&app, &[("action", "shorturl"), ("url", "example.org/x"), ("keyword", "mine"), ("title", "A <title> & more")]);

        assert_eq!(made.status, 200);
        assert_eq!(made.json(), json!({
            "status": "success", "code": "", "message": "http://example.org/x added to database", "errorCode": "", "statusCode": "200",
            "url": {"keyword": "mine", "url": "http://example.org/x", "title": "A <title> & more", "date": "2026-11-21 02:00:00", "ip": ""},
            "title": "A <title> & more", "shorturl": "https://go.example.com/mine",
        }));
        assert_eq!(app.api("GET", "/links/mine", None).json()["title"], "A <title> & more");
    }

    fn what_is_refused_is_refused_in_the_words_of_yourls(backend) {
        let app = TestApp::start_with(backend, &[ON[0], ON[1], ("BLOCKED_DOMAINS", "evil.example")]);
        app.create(json!({"url": "https://example.org/", "slug": "taken"}));
        let rows: [(&[(&str, &str)], &str); 8] = [
            (&[("url", "https://example.org/new"), ("keyword", "taken")], "error:keyword"),
            (&[("url", "https://example.org/new"), ("keyword", "api")], "error:keyword"),
            (&[("url", "https://example.org/new"), ("keyword", "\u{e4}\u{f6}.")], "error:keyword"),
            (&[], "error:nourl"),
            (&[("url", "")], "error:nourl"),
            (&[("url", "javascript:alert(1)")], "error:nourl"),
            (&[("url", "https://evil.example/")], "error:nourl"),
            (&[("url", "https://go.example.com/taken")], "error:noloop"),
        ];
        for (pairs, code) in rows {
            let mut all = vec![("action", "shorturl")];
            all.extend_from_slice(pairs);

            let answer = ask(&app, &all);

            assert_eq!(answer.status, 400, "{pairs:?}");
            assert_eq!(fields(&answer, &["status", "code", "errorCode", "statusCode"]), ["fail", code, "400", "400"], "{pairs:?}");
            assert!(answer.json()["message"].is_string() && answer.json()["shorturl"].is_null());
            all.push(("format", "simple"));
            assert_eq!(ask(&app, &all).body, "");
        }
        assert_eq!(app.api("GET", "/links", None).json()["links"].as_array().unwrap().len(), 1);
    }

    /// `my.slug` was refused, as one that exists.
    fn what_no_keyword_can_hold_is_taken_out_of_it(backend) {
        let app = TestApp::start_with(backend, &ON);
        let ask_for = |keyword: &str| ask(&app, &[("action", "shorturl"), ("url", &format!("https://example.org/{}", keyword.len())), ("keyword", keyword)]);

        let made = ask_for("my.slug \u{e4}!");
        let long = ask_for(&"x".repeat(65));

        assert_eq!((made.status, &made.json()["url"]["keyword"]), (200, &json!("myslug")));
        assert_eq!(fields(&long, &["code", "message"]), ["error:keyword", "The keyword cannot be used: a slug has at most 64 characters"]);
    }

    fn an_address_that_has_a_link_is_answered_with_that_link(backend) {
        let app = TestApp::start_with(backend, &ON);
        let first = ask(&app, &[("action", "shorturl"), ("url", "https://example.org/once")]).json();

        let second = ask(&app, &[("action", "shorturl"), ("url", "https://example.org/once")]);
        let simple = ask(&app, &[("action", "shorturl"), ("url", "https://example.org/once"), ("format", "simple")]);

        assert_eq!(second.status, 400);
        assert_eq!(fields(&second, &["status", "code", "errorCode", "statusCode"]), ["fail", "error:url", "400", "400"]);
        assert_eq!(second.json()["shorturl"], first["shorturl"]);
        assert_eq!((&second.json()["url"]["keyword"], &second.json()["url"]["clicks"]), (&first["url"]["keyword"], &json!("0")));
        assert_eq!((simple.status, simple.body.as_str()), (400, first["shorturl"].as_str().unwrap()));
    }

    fn a_short_url_is_expanded_by_its_keyword_and_by_its_whole_address(backend) {
        let app = TestApp::start_with(backend, &ON);
        app.create(json!({"url": "https://example.org/long", "slug": "abc", "title": "T"}));

        let spellings = [
            "abc", "abc/", "https://go.example.com/abc", "http://go.example.com/abc", "https://go.example.com/abc/", "go.example.com/abc",
            "GO.example.com/abc/",
        ];
        for shorturl in spellings {
            let answer = ask(&app, &[("action", "expand"), ("shorturl", shorturl)]);
            assert_eq!((answer.status, answer.json()), (200, json!({
                "keyword": "abc", "shorturl": "https://go.example.com/abc", "longurl": "https://example.org/long", "title": "T",
                "message": "success", "statusCode": "200",
            })), "{shorturl}");
            assert_eq!(ask(&app, &[("action", "expand"), ("shorturl", shorturl), ("format", "simple")]).body, "https://example.org/long");
        }
        for shorturl in ["nothing", "a/b", "", "https://other.example/abc"] {
            let answer = ask(&app, &[("action", "expand"), ("shorturl", shorturl)]);
            assert_eq!((answer.status, answer.json()), (404, json!({"keyword": shorturl, "message": "Error: short URL not found", "errorCode": "404"})));
            assert_eq!(ask(&app, &[("action", "expand"), ("shorturl", shorturl), ("format", "simple")]).body, "not found");
        }
    }

    fn statistics_are_given_as_yourls_gives_them(backend) {
        let app = TestApp::start_with(backend, &ON);
        for slug in ["one", "two", "three"] {
            app.create(json!({"url": format!("https://example.org/{slug}"), "slug": slug, "max_clicks": 9}));
        }
        // A click of a link with a limit is counted before its visitor is answered.
        let visit = |slug: &str| assert_eq!(app.send("GET", &format!("/{slug}"), &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")], b"").status, 302);
        for slug in ["two", "two", "three"] {
            visit(slug);
        }
        let link = |slug: &str, clicks: &str| json!({
            "shorturl": format!("https://go.example.com/{slug}"), "url": format!("https://example.org/{slug}"),
            "title": format!("https://example.org/{slug}"), "timestamp": "2026-11-21 02:00:00", "ip": "", "clicks": clicks,
        });
        let stats = |pairs: &[(&str, &str)]| {
            let mut all = vec![("action", "stats")];
            all.extend_from_slice(pairs);
            ask(&app, &all).json()
        };

        assert_eq!(stats(&[("filter", "top"), ("limit", "2")]), json!({
            "links": {"link_1": link("two", "2"), "link_2": link("three", "1")},
            "stats": {"total_links": "3", "total_clicks": "3"}, "statusCode": "200", "message": "success",
        }));
        assert_eq!(stats(&[("filter", "bottom"), ("limit", "1")])["links"], json!({"link_1": link("one", "0")}));
        assert_eq!(stats(&[("filter", "last"), ("limit", "5"), ("start", "2")])["links"], json!({"link_1": link("one", "0")}));
        assert_eq!(stats(&[("filter", "rand"), ("limit", "5")])["links"].as_object().unwrap().len(), 3);
        assert!(stats(&[]).get("links").is_none());
        let url_stats = ask(&app, &[("action", "url-stats"), ("shorturl", "https://go.example.com/two")]);
        assert_eq!((url_stats.status, url_stats.json()), (200, json!({"statusCode": "200", "message": "success", "link": link("two", "2")})));
        let missing = ask(&app, &[("action", "url-stats"), ("shorturl", "none")]);
        assert_eq!((missing.status, missing.json()), (404, json!({"statusCode": "404", "message": "Error: short URL not found"})));
        assert_eq!(ask(&app, &[("action", "db-stats")]).json(), json!({
            "db-stats": {"total_links": "3", "total_clicks": "3"}, "statusCode": "200", "message": "success",
        }));
        assert_eq!(ask(&app, &[("action", "db-stats"), ("format", "simple")]).body, "Need either XML or JSON format for stats");
    }

    fn a_key_does_here_what_its_scopes_say(backend) {
        let app = TestApp::start_with(backend, &ON);
        let (_, own) = issue(&app, json!({"name": "own", "scopes": ["links:create", "links:read"], "own_links_only": true}));
        let creator = key_for(&app, &["links:create"]);
        let reader = key_for(&app, &["links:read"]);
        app.create(json!({"url": "https://example.org/", "slug": "theirs"}));
        let with = |key: &str, pairs: &[(&str, &str)]| {
            let mut all = vec![("signature", key)];
            all.extend_from_slice(pairs);
            ask(&app, &all).status
        };
        let shorten = [("action", "shorturl"), ("url", "https://example.org/new"), ("keyword", "mine")];
        let expand = [("action", "expand"), ("shorturl", "theirs")];

        assert_eq!([with(&reader, &shorten), with(&creator, &expand), with(&creator, &[("action", "stats")]), with(&creator, &[("action", "db-stats")])], [403; 4]);
        assert_eq!([with(&own, &shorten), with(&own, &expand), with(&own, &[("action", "url-stats"), ("shorturl", "mine")])], [200, 404, 200]);
        let seen = ask(&app, &[("signature", &own), ("action", "db-stats")]).json();
        assert_eq!(seen["db-stats"]["total_links"], "1");
        let listed = ask(&app, &[("signature", &own), ("action", "stats"), ("filter", "top"), ("limit", "9")]).json();
        assert_eq!(listed["links"].as_object().unwrap().len(), 1);
        assert_eq!(with(&reader, &expand), 200);
    }

    fn without_a_valid_key_nothing_is_done(backend) {
        let app = TestApp::start_with(backend, &ON);
        let shorten = |more: &[(&str, &str)]| {
            let mut all = vec![("action", "shorturl"), ("url", "https://example.org/"), ("format", "json")];
            all.extend_from_slice(more);
            app.send("POST", "/yourls-api.php", &[FORM], encoded(&all).as_bytes())
        };
        let signed = key_for(&app, &["links:create"]);
        for more in [
            vec![], vec![("signature", "wrong")], vec![("username", "admin"), ("password", ADMIN_KEY)],
            vec![("signature", "0123456789abcdef0123456789abcdef"), ("timestamp", "1790000000"), ("hash", "sha256")],
        ] {
            let answer = shorten(&more);

            assert_eq!(answer.status, 403, "{more:?}");
            let body = answer.json();
            assert_eq!((&body["errorCode"], body.as_object().unwrap().len()), (&json!("403"), 2), "{body}");
            assert!(!answer.body.contains(ADMIN_KEY));
        }
        assert_eq!(app.send("GET", "/yourls-api.php?action=version", &[], b"").status, 403);
        assert_eq!(shorten(&[("signature", &signed)]).status, 200);
        assert_eq!(app.api("GET", "/links", None).json()["links"].as_array().unwrap().len(), 1);
    }

    fn everybody_may_shorten_where_no_key_is_needed(backend) {
        let app = TestApp::start_with(backend, &[ON[0], ON[1], ("ANONYMOUS_CREATE", "true")]);

        let made = app.send("GET", "/yourls-api.php?action=shorturl&url=https%3A%2F%2Fexample.org%2F&format=simple", &[], b"");

        assert_eq!(made.status, 200, "{}", made.body);
        assert!(made.body.starts_with("https://go.example.com/"));
        assert_eq!(app.send("GET", "/yourls-api.php?action=expand&shorturl=x", &[], b"").status, 403);
    }

    fn links_made_here_count_towards_the_same_budget(backend) {
        let app = TestApp::start_with(backend, &[ON[0], ON[1], ("CREATE_RATE_PER_MINUTE", "2"), ("WRONG_KEY_RATE_PER_MINUTE", "2")]);
        let shorten = |n: u8| ask(&app, &[("action", "shorturl"), ("url", &format!("https://example.org/{n}"))]);
        assert_eq!((shorten(1).status, shorten(2).status), (200, 200));

        shorten(3).assert_problem(429, "rate_limited");
        for n in 0..3 {
            let answer = app.send("POST", "/yourls-api.php", &[FORM], format!("action=version&signature=wrong{n}").as_bytes());
            assert_eq!(answer.status, if n < 2 { 403 } else { 429 });
        }
    }

    fn a_request_that_is_sent_again_makes_one_link(backend) {
        let app = TestApp::start_with(backend, &ON);
        let twin = app.twin(backend, &ON);
        let body = encoded(&[("signature", ADMIN_KEY), ("action", "shorturl"), ("url", "https://example.org/"), ("format", "xml")]);
        let send = |app: &TestApp, body: &str| app.send("POST", "/yourls-api.php", &[FORM, ("idempotency-key", "n")], body.as_bytes());
        let first = send(&app, &body);

        let again = send(&twin, &body);

        assert_eq!((first.status, again.status, &again.body), (200, 200, &first.body));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
        assert_eq!(send(&app, &body.replace("example.org", "example.net")).status, 422);
    }
}

#[test]
fn xml_is_what_is_answered_if_nothing_else_is_asked_for() {
    let app = TestApp::start_with(Backend::Sqlite, &ON);
    app.create(json!({"url": "https://example.org/?a=1&b=2", "slug": "abc", "title": "<T> \u{1} ]]>"}));
    let path = format!("/yourls-api.php?signature={ADMIN_KEY}&action=expand&shorturl=abc");

    let answer = app.get(&path);

    assert_eq!(
        answer.header("content-type"),
        Some("application/xml; charset=utf-8")
    );
    assert_eq!(
        answer.body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<root><keyword>abc</keyword>\
         <longurl>https://example.org/?a=1&amp;b=2</longurl><message>success</message>\
         <shorturl>https://go.example.com/abc</shorturl><statusCode>200</statusCode>\
         <title>&lt;T&gt; \u{fffd} ]]&gt;</title></root>\n"
    );
    let stats = app.get(&format!("/yourls-api.php?signature={ADMIN_KEY}&action=db-stats"));
    assert!(
        stats
            .body
            .contains("<db-stats><total_clicks>0</total_clicks><total_links>1</total_links></db-stats>")
    );
}

#[test]
fn a_parameter_of_the_body_stands_over_one_of_the_address() {
    let app = TestApp::start_with(Backend::Sqlite, &ON);
    let path = format!("/yourls-api.php?signature={ADMIN_KEY}&action=expand&format=simple");

    let answer = app.send("POST", &path, &[FORM], b"action=version&unknown=1");
    let with_database = app.send("POST", &path, &[FORM], b"action=version&format=json&db=1");

    assert_eq!((answer.status, answer.body.as_str()), (200, "1.10.1"));
    assert_eq!(
        with_database.json(),
        json!({"version": "1.10.1", "db_version": "507"})
    );
}

#[test]
fn what_is_no_request_of_yourls_is_answered_without_a_failure() {
    let app = TestApp::start_with(Backend::Sqlite, &ON);
    let unknown = ask(&app, &[("action", "nonsense")]);
    assert_eq!(
        (unknown.status, unknown.json()),
        (
            400,
            json!({"message": "Unknown or missing \"action\" parameter", "errorCode": "400"})
        )
    );
    let jsonp = ask(
        &app,
        &[("action", "version"), ("format", "jsonp"), ("callback", "x")],
    );
    assert_eq!((jsonp.status, &jsonp.json()["errorCode"]), (400, &json!("400")));
    let kind = ("content-type", "multipart/form-data; boundary=x");

    for body in [&b"--x\r\nnonsense"[..], b"", b"\xff\xfe", b"--x--"] {
        let answer = app.send("POST", "/yourls-api.php", &[kind], body);
        assert!(
            matches!(answer.status, 400 | 403),
            "{} {}",
            answer.status,
            answer.body
        );
    }
    app.send("POST", "/yourls-api.php", &[FORM], &[b'a'; 64 * 1024 + 1])
        .assert_problem(413, "body_too_large");
    app.send("DELETE", "/yourls-api.php", &[], b"")
        .assert_problem(405, "method_not_allowed");
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let app = TestApp::start(Backend::Sqlite);

    let answer = app.get(&format!("/yourls-api.php?signature={ADMIN_KEY}&action=version"));

    answer.assert_problem(404, "not_found");
}
