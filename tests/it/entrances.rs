//! A target is taken, or refused, alike by every entrance: the API, an import, the forms and the API of YOURLS.

use serde_json::{Value, json};

use crate::app::{Answer, Backend, TestApp};
use crate::browser::Tab;
use crate::on_both_stores;
use crate::porting::import;

const SETTINGS: [(&str, &str); 2] = [("ANONYMOUS_CREATE", "true"), ("YOURLS_API", "true")];

/// What the entrances that take a URL, and no typed text, make of one.
const ENTRANCES: [&str; 5] = ["create", "bulk", "patch", "ndjson", "csv"];

/// Those that people type into.
const FORMS: [&str; 2] = ["form", "yourls"];

/// The target that is stored, or `None`.
fn stored(app: &TestApp, slug: &str) -> Option<String> {
    let answer = app.api("GET", &format!("/links/{slug}"), None);
    (answer.status == 200).then(|| answer.json()["url"].as_str().unwrap().to_owned())
}

fn yourls(app: &TestApp, pairs: &[(&str, &str)]) -> Answer {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.append_pair("signature", crate::app::ADMIN_KEY);
    body.append_pair("action", "shorturl");
    body.append_pair("format", "json");
    body.extend_pairs(pairs);
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    app.send("POST", "/yourls-api.php", &kind, body.finish().as_bytes())
}

/// Gives `url` to an entrance, and answers what is stored.
fn give(app: &TestApp, entrance: &str, slug: &str, url: &str) -> Option<String> {
    let draft = json!({"url": url, "slug": slug});
    match entrance {
        "create" => drop(app.api("POST", "/links", Some(&draft))),
        "bulk" => drop(app.api("POST", "/links/bulk", Some(&json!({"links": [draft]})))),
        "patch" => {
            app.create(json!({"url": "https://example.org/before", "slug": slug}));
            let answer = app.api("PATCH", &format!("/links/{slug}"), Some(&json!({"url": url})));
            if answer.status != 200 {
                return None;
            }
        }
        "ndjson" => drop(import(app, "?format=ndjson", format!("{draft}\n").as_bytes())),
        "csv" => {
            let table = format!("slug,url\n{slug},\"{}\"\n", url.replace('"', "\"\""));
            import(app, "?format=csv", table.as_bytes());
        }
        "form" => Tab::open(app, "/").submit("/app/shorten", &[("url", url), ("slug", slug)]),
        "yourls" => drop(yourls(app, &[("url", url), ("keyword", slug)])),
        _ => unreachable!(),
    }
    stored(app, slug)
}

#[track_caller]
fn expect(app: &TestApp, entrances: &[&str], rows: &[(&str, Option<&str>)]) {
    for (at, (url, expected)) in rows.iter().enumerate() {
        for entrance in entrances {
            let slug = format!("{entrance}-{}-{at}", fastrand::u32(..));
            assert_eq!(
                give(app, entrance, &slug, url).as_deref(),
                *expected,
                "{entrance} {url:?}"
            );
        }
    }
}

on_both_stores! {
    /// A line break was refused by the API and trimmed by the forms, and U+200B at the end was stored.
    fn invisible_characters_round_a_target_are_trimmed_by_every_entrance(backend) {
        let app = TestApp::start_with(backend, &SETTINGS);
        let plain = Some("https://example.org/x");

        let all = [ENTRANCES.as_slice(), &FORMS].concat();
        expect(&app, &all, &[
            ("https://example.org/x\n", plain),
            (" \t https://example.org/x \r\n", plain),
            ("\u{feff}https://example.org/x", plain),
            ("\u{a0}https://example.org/x\u{a0}", plain),
            ("https://example.org/x\u{200b}", plain),
            ("\u{200e}https://example.org/x\u{2060}\u{200d}", plain),
        ]);
    }

    /// `https://https://example.org/x` was stored as a link to the host `https`.
    fn two_schemes_in_a_row_are_refused_by_every_entrance(backend) {
        let app = TestApp::start_with(backend, &SETTINGS);

        let all: Vec<&str> = [ENTRANCES.as_slice(), &FORMS].concat();
        expect(&app, &all, &[("https://https://example.org/x", None), ("http://http/x", None)]);

        let answer = app.api("POST", "/links", Some(&json!({"url": "http://https://example.org/"})));
        answer.assert_problem(422, "invalid_link");
        assert!(answer.body.contains("two in a row"), "{}", answer.body);
    }

    /// The host was called malformed.
    fn a_trailing_dot_of_a_host_is_accepted_and_hides_nothing(backend) {
        let app = TestApp::start_with(backend, &[SETTINGS[0], SETTINGS[1], ("BLOCKED_DOMAINS", "evil.example"), ("OWN_HOSTS", "own.example")]);

        let all = [ENTRANCES.as_slice(), &FORMS].concat();
        expect(&app, &all, &[
            ("https://example.com./a", Some("https://example.com./a")),
            ("https://own.example./a", None), ("https://a.evil.example./", None), ("http://localhost./", None),
        ]);
        app.create(json!({"url": "https://www.later.example.:8443/", "slug": "dotted"}));
        let down = app.api("POST", "/links/disable", Some(&json!({"domain": "later.example"}))).json();
        assert_eq!((&down["count"], app.get("/dotted").status), (&json!(1), 410), "{down}");
    }

    /// The parser of URLs took `example.org:` for a scheme.
    fn a_host_with_a_port_is_typed_without_a_scheme(backend) {
        let app = TestApp::start_with(backend, &SETTINGS);
        for (entrance, scheme) in [("form", "https"), ("yourls", "http")] {
            let at = |rest: &str| format!("{scheme}://{rest}");
            expect(&app, &[entrance], &[
                ("example.org:8080/x", Some(&at("example.org:8080/x"))),
                ("example.org/x", Some(&at("example.org/x"))),
                ("<https://example.org/x>", Some("https://example.org/x")),
                ("\"https://example.org/x\"", Some("https://example.org/x")),
                ("localhost/x", None), ("javascript:alert(1)", None), ("mailto:a@example.org", None),
            ]);
        }
        expect(&app, &ENTRANCES, &[("example.org:8080/x", None), ("example.org/x", None)]);
    }

    /// 2,049 bytes were refused by every entrance, and a link was lost in a move from elsewhere.
    fn a_long_target_is_taken_by_every_entrance(backend) {
        let long = format!("https://example.org/{}", "a".repeat(8192 - 20));
        let longer = format!("{long}b");
        let app = TestApp::start_with(backend, &SETTINGS);

        let all = [ENTRANCES.as_slice(), &FORMS].concat();
        expect(&app, &all, &[(&long, Some(&long)), (&longer, None)]);
    }

    fn the_longest_target_is_a_setting(backend) {
        let most = format!("https://example.org/{}", "a".repeat(32_768 - 20));
        let more = format!("{most}b");
        let app = TestApp::start_with(backend, &[SETTINGS[0], SETTINGS[1], ("MAX_URL_LENGTH", "32768")]);

        let all = [ENTRANCES.as_slice(), &FORMS].concat();
        expect(&app, &all, &[(&most, Some(&most)), (&more, None)]);
        app.create(json!({"url": most, "slug": "most"}));
        assert_eq!(app.get("/most").header("location"), Some(most.as_str()));
        // Read from the database as well, and not from memory.
        assert_eq!(app.twin(backend, &[]).get("/most").header("location"), Some(most.as_str()));
        let answer = app.api("POST", "/links", Some(&json!({"url": more})));
        let detail = answer.assert_problem(422, "invalid_link")["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("32768") && detail.contains("32769"), "{detail}");
    }
}

#[test]
fn lines_of_the_bulk_page_are_typed_too() {
    let app = TestApp::start(Backend::Sqlite);
    let mut tab = crate::manage_pages::signed_in(&app, crate::app::ADMIN_KEY);
    tab.go("/app/bulk");

    tab.submit("/app/bulk", &[("lines", "\u{feff}example.org:8080/x bulk-a\n<https://example.org/y> bulk-b\n https://example.org/z\u{200b}\n")]);

    let links: Value = app.api("GET", "/links", None).json();
    let urls: Vec<&str> = links["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["url"].as_str().unwrap())
        .collect();
    assert_eq!(
        urls,
        [
            "https://example.org/z",
            "https://example.org/y",
            "https://example.org:8080/x"
        ]
    );
    assert_eq!(
        stored(&app, "bulk-a").as_deref(),
        Some("https://example.org:8080/x")
    );
}
