//! Pages for visitors of links.

use serde_json::json;

use crate::app::{Answer, Backend, TestApp};
use crate::on_both_stores;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn page(app: &TestApp, path: &str, language: &str) -> Answer {
    let answer = app.send(
        "GET",
        path,
        &[("accept", BROWSER), ("accept-language", language)],
        b"",
    );
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    answer
}

on_both_stores! {
    fn a_page_says_why_a_link_is_gone_in_the_visitors_language(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "old", "expires_at": "2026-11-21T01:00:00Z"}));
        app.create(json!({"url": "https://example.org/", "slug": "off"}));
        app.api("PATCH", "/links/off", Some(&json!({"disabled": true})));
        app.create(json!({"url": "https://example.org/", "slug": "once", "max_clicks": 1}));
        app.get("/once");
        let rows = [
            ("/old", "de-CH, en;q=0.5", "de", "Ablaufdatum"),
            ("/old", "fr", "fr", "date de fin"),
            ("/off", "es-MX", "es", "desactivado"),
            ("/off", "ja", "en", "taken down"),
            ("/once", "en-GB", "en", "fixed number of times"),
            ("/once+", "de", "de", "feste Zahl"),
        ];
        for (path, language, tag, words) in rows {
            let answer = page(&app, path, language);

            assert_eq!(answer.status, 410);
            assert!(answer.body.contains(&format!("<html lang=\"{tag}\">")), "{}", answer.body);
            assert!(answer.body.contains(words), "{}", answer.body);
            assert!(answer.body.contains(answer.header("x-request-id").unwrap()));
            assert_eq!(answer.header("vary"), Some("Accept, Accept-Language"));
            assert_eq!(answer.header("set-cookie"), None);
        }
    }

    fn each_page_of_an_unknown_slug_is_the_same(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "soon", "valid_from": "2030-01-01T00:00:00Z"}));
        let without_id = |answer: &Answer| answer.body.replace(answer.header("x-request-id").unwrap(), "ID");
        for language in ["en", "de", "fr", "es"] {
            let first = page(&app, "/never", language);
            for path in ["/soon", "/soon+", "/soon/qr.png", "/a.b", "/a/b", "/%3Cscript%3E"] {
                let answer = page(&app, path, language);

                assert_eq!(answer.status, 404, "{path}");
                assert_eq!(without_id(&answer), without_id(&first), "{path}");
                assert_eq!(answer.header_names(), first.header_names(), "{path}");
            }
        }
    }

    fn a_preview_shows_the_target_and_counts_nothing(backend) {
        let app = TestApp::start(backend);
        let title = "<b>Q&A</b> \"today\"";
        app.create(json!({"url": "https://bücher.example/a?b=<i>&c=\"", "slug": "look", "title": title}));

        let answer = page(&app, "/look+", "en");

        assert_eq!(answer.status, 200);
        for text in ["xn--bcher-kva.example", "bücher.example", "2026-11-21", "&lt;b&gt;Q&amp;A&lt;/b&gt; &quot;today&quot;",
            "href=\"https://xn--bcher-kva.example/a?b=%3Ci%3E&amp;c=%22\"", "rel=\"noreferrer nofollow\""] {
            assert!(answer.body.contains(text), "{text}: {}", answer.body);
        }
        assert_eq!(app.api("GET", "/links/look", None).json()["clicks"], 0);
        assert_eq!(app.send("HEAD", "/look+", &[], b"").status, 200);
        app.send("DELETE", "/look+", &[], b"").assert_problem(405, "method_not_allowed");
    }
}

#[test]
fn a_page_says_that_the_service_is_away() {
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let app = TestApp::start_with(Backend::Sqlite, &[("DATABASE_URL", nowhere)]);

    let answer = page(&app, "/some", "fr");

    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(
        answer.body.contains("De retour dans un instant"),
        "{}",
        answer.body
    );
}

#[test]
fn the_files_of_pages_are_kept_by_browsers() {
    let app = TestApp::start(Backend::Sqlite);
    let home = page(&app, "/", "en");
    let paths: Vec<&str> = home
        .body
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
        .collect();

    let answers: Vec<Answer> = paths.iter().map(|path| app.get(path)).collect();

    assert_eq!(answers.len(), 3, "{paths:?}");
    for answer in answers {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        assert!(answer.body.len() < 20_000);
    }
    assert_eq!(app.get("/assets/0000000000000000.css").status, 404);
}
