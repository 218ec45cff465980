//! Content codings: what is compressed of answers, and what is read of requests.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Answer, Backend, TestApp};
use crate::on_both_stores;
use crate::porting::{counts, import};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

/// `GET` with the key of every scope, and these codings.
fn get(app: &TestApp, path: &str, accept: &str, more: &[(&str, &str)]) -> Answer {
    let key = format!("Bearer {ADMIN_KEY}");
    let mut headers = vec![("authorization", key.as_str())];
    if !accept.is_empty() {
        headers.push(("accept-encoding", accept));
    }
    headers.extend_from_slice(more);
    app.send("GET", path, &headers, b"")
}

fn post(app: &TestApp, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [&[("authorization", key.as_str())], headers].concat();
    app.send("POST", path, &headers, body)
}

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

on_both_stores! {
    fn what_is_large_is_compressed_for_those_who_accept_it(backend) {
        let app = TestApp::start(backend);
        let links: Vec<Value> = (0..1000).map(|n| json!({"url": format!("https://example.org/{n}"), "title": "the same words again and again"})).collect();
        assert_eq!(app.api("POST", "/links/bulk", Some(&json!({"links": links}))).status, 200);
        let page = [("accept", "text/html"), ("sec-fetch-site", "none")];

        for (path, more) in [
            ("/api/v1/export", &[][..]), ("/api/v1/export?format=csv", &[]), ("/api/v1/links?limit=200", &[]), ("/", &page[..]), ("/app/sign-in", &page[..]),
        ] {
            let (plain, small) = (get(&app, path, "", more), get(&app, path, "br;q=1.0, gzip;q=0.8", more));
            assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{path}");
            assert_eq!((small.status, small.header("content-encoding")), (200, Some("gzip")), "{path}");
            assert!(small.bytes.len() * 4 < plain.bytes.len() * 3, "{path}: {} of {}", small.bytes.len(), plain.bytes.len());
            if path.starts_with("/api") {
                assert_eq!(gunzip(&small.bytes), plain.bytes, "{path}");
            }
            for answer in [&plain, &small] {
                assert!(answer.headers_called("vary").iter().any(|vary| vary.contains("Accept-Encoding")), "{path}");
            }
            assert_eq!(small.header("content-type"), plain.header("content-type"));
        }
        for accept in ["gzip;q=0", "identity", "br"] {
            assert_eq!(get(&app, "/api/v1/links?limit=200", accept, &[]).header("content-encoding"), None, "{accept}");
        }
    }

    fn what_is_small_or_a_picture_is_sent_as_it_is(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "small"}));

        for path in ["/version", "/api/v1/links/small", "/small/qr.png", "/small", "/nothing"] {
            let answer = get(&app, path, "gzip", &[]);
            assert_eq!(answer.header("content-encoding"), None, "{path}");
        }
    }

    /// A page holds the token of its forms: its length must say nothing of it to another site.
    fn a_page_that_another_site_asks_for_is_not_compressed(backend) {
        let app = TestApp::start(backend);

        for (site, coding) in [("same-origin", Some("gzip")), ("none", Some("gzip")), ("cross-site", None), ("same-site", None)] {
            assert_eq!(get(&app, "/", "gzip", &[("sec-fetch-site", site)]).header("content-encoding"), coding, "{site}");
        }
        assert_eq!(get(&app, "/", "gzip", &[]).header("content-encoding"), None);
    }

    fn a_body_in_gzip_is_read_and_another_coding_is_415(backend) {
        let app = TestApp::start_with(backend, &[("YOURLS_API", "true")]);
        let link = br#"{"url": "https://example.org/", "slug": "packed"}"#;
        let lines: String = (0..3000).map(|n| format!("{{\"slug\":\"n{n}\",\"url\":\"https://example.org/{n}\"}}\n")).collect();
        // Two members, one after the other, are one body.
        let (one, two) = lines.split_at(1000);
        let members = [gzip(one.as_bytes()), gzip(two.as_bytes())].concat();

        assert_eq!(post(&app, "/api/v1/links", &[JSON, GZIP], &gzip(link)).status, 201);
        let report = post(&app, "/api/v1/import", &[GZIP], &members);
        assert_eq!((report.status, counts(&report.json())), (200, [3000, 0, 0, 0, 0]), "{}", report.body);
        assert_eq!(post(&app, "/api/v1/links", &[JSON, ("content-encoding", "identity")], br#"{"url":"https://example.org/"}"#).status, 201);
        let form = post(&app, "/yourls-api.php", &[GZIP, ("content-type", "application/x-www-form-urlencoded")], &gzip(b"action=version&format=json"));
        assert_eq!((form.status, form.json()["version"].is_string()), (200, true));
        for path in ["/api/v1/links", "/api/v1/links/bulk", "/api/v1/keys", "/api/v1/import", "/yourls-api.php"] {
            for coding in ["br", "deflate", "gzip, gzip", "aes128gcm"] {
                let refused = post(&app, path, &[JSON, ("content-encoding", coding)], link);
                refused.assert_problem(415, "unsupported_encoding");
                assert_eq!(refused.header("accept-encoding"), Some("gzip"));
            }
        }
    }

    fn a_body_that_is_no_whole_gzip_is_refused_and_a_bomb_is_too_large(backend) {
        let app = TestApp::start(backend);
        let link = gzip(br#"{"url": "https://example.org/"}"#);
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        let mut wrong = link.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;

        for body in [&link[..link.len() - 1], &link[..12], b"no gzip at all", &wrong[..]] {
            post(&app, "/api/v1/links", &[JSON, GZIP], body).assert_problem(400, "malformed_body");
            post(&app, "/api/v1/import?format=ndjson", &[GZIP], body).assert_problem(400, "malformed_body");
        }
        post(&app, "/api/v1/links", &[JSON, GZIP], &bomb).assert_problem(413, "body_too_large");
        assert_eq!(app.api("GET", "/links", None).json()["links"], json!([]));
    }

    /// .NET and PowerShell write one before JSON.
    fn a_byte_order_mark_before_json_is_skipped(backend) {
        let app = TestApp::start(backend);

        let made = post(&app, "/api/v1/links", &[JSON], "\u{feff}{\"url\": \"https://example.org/\", \"slug\": \"marked\"}".as_bytes());
        let twice = post(&app, "/api/v1/links", &[JSON], "\u{feff}\u{feff}{}".as_bytes());

        assert_eq!(made.status, 201, "{}", made.body);
        twice.assert_problem(400, "malformed_json");
    }
}

#[test]
fn what_was_exported_compressed_can_be_imported_as_it_is() {
    let (from, to) = (TestApp::start(Backend::Sqlite), TestApp::start(Backend::Sqlite));
    import(
        &from,
        "",
        b"{\"slug\":\"moved\",\"url\":\"https://example.org/moved\"}\n",
    );

    let export = get(&from, "/api/v1/export", "gzip", &[]);
    let report = post(&to, "/api/v1/import", &[GZIP], &export.bytes);

    assert_eq!(export.header("content-encoding"), Some("gzip"));
    assert_eq!(counts(&report.json()), [1, 0, 0, 0, 0]);
}
