//! Section 4 of the contract: what is counted, and what the statistics say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::on_both_stores;
use crate::poll::wait_until;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";

/// Waits until every click that was taken is stored.
pub fn settle(app: &TestApp) {
    let clicks = &app.metrics.clicks;
    wait_until("stored", || clicks.stored.get() >= clicks.taken.get());
}

fn stats(app: &TestApp, slug: &str, query: &str) -> Value {
    settle(app);
    let answer = app.api("GET", &format!("/links/{slug}/stats{query}"), None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

on_both_stores! {
    fn clicks_are_sorted_by_where_they_came_from_and_with_what(backend) {
        let settings = [("COUNTRY_HEADER", "X-Country"), ("TRUSTED_PROXY_HOPS", "1"), ("CLICK_FLUSH_MS", "10")];
        let app = TestApp::start_with(backend, &settings);
        app.create(json!({"url": "https://example.org/", "slug": "counted"}));
        let visitors = [
            ("203.0.113.1", FIREFOX, "https://news.example/private?token=1", "de-CH,de;q=0.9", "ch"),
            ("203.0.113.1", FIREFOX, "https://news.example/other", "de", "ch"),
            ("203.0.113.2", IPHONE, "", "en", "nonsense"),
        ];
        for (address, agent, referrer, language, country) in visitors {
            let headers = [("x-forwarded-for", address), ("user-agent", agent), ("referer", referrer),
                ("accept-language", language), ("x-country", country)];
            assert_eq!(app.send("GET", "/counted", &headers, b"").status, 302);
        }
        app.send("GET", "/counted", &[("user-agent", "Googlebot/2.1")], b"");
        app.send("GET", "/counted", &[("user-agent", FIREFOX), ("sec-purpose", "prefetch;prerender")], b"");
        app.send("HEAD", "/counted", &[("user-agent", FIREFOX)], b"");
        app.send("GET", "/absent", &[("user-agent", FIREFOX)], b"");

        let stats = stats(&app, "counted", "");

        assert_eq!(stats["slug"], "counted");
        assert_eq!((&stats["clicks"], &stats["bots"], &stats["visitors"]), (&json!(3), &json!(2), &json!(2)), "{stats}");
        assert_eq!(stats["referrers"], json!([{"value": "news.example", "clicks": 2}, {"value": "(direct)", "clicks": 1}]));
        assert_eq!(stats["browsers"], json!([{"value": "Firefox", "clicks": 2}, {"value": "Safari", "clicks": 1}]));
        assert_eq!(stats["systems"], json!([{"value": "Linux", "clicks": 2}, {"value": "iOS", "clicks": 1}]));
        assert_eq!(stats["devices"], json!([{"value": "desktop", "clicks": 2}, {"value": "mobile", "clicks": 1}]));
        assert_eq!(stats["countries"], json!([{"value": "CH", "clicks": 2}]));
        assert_eq!(stats["languages"], json!([{"value": "de", "clicks": 2}, {"value": "en", "clicks": 1}]));
        assert_eq!(stats["interval"], "day");
        assert_eq!((&stats["from"], &stats["to"]), (&json!("2026-10-23T00:00:00Z"), &json!("2026-11-22T00:00:00Z")));
        let series = stats["series"].as_array().unwrap();
        assert_eq!(series.len(), 30);
        assert_eq!(series[29], json!({"start": "2026-11-21T00:00:00Z", "clicks": 3, "bots": 2, "scans": 0}));
        assert_eq!(series[0], json!({"start": "2026-10-23T00:00:00Z", "clicks": 0, "bots": 0, "scans": 0}));
        assert_eq!(app.api("GET", "/links/counted", None).json()["clicks"], 3);
        assert_eq!(stats.as_object().unwrap().len(), 15);
    }

    fn a_question_has_a_range_an_interval_and_a_limit(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/", "slug": "asked"}));
        for number in 0..3 {
            let referrer = format!("https://{number}.example/");
            app.send("GET", "/asked", &[("user-agent", FIREFOX), ("referer", &referrer)], b"");
        }
        app.clock.advance(Duration::from_secs(3600));
        app.send("GET", "/asked", &[("user-agent", FIREFOX), ("referer", "https://2.example/")], b"");

        let hours = stats(&app, "asked", "?from=2026-11-21T02:30:00Z&to=2026-11-21T04:00:00Z&interval=hour&limit=2");
        let months = stats(&app, "asked", "?from=2026-10-01T00:00:00Z&interval=month");
        let before = stats(&app, "asked", "?to=2026-11-21T02:00:00Z&interval=hour");

        assert_eq!(hours["series"], json!([{"start": "2026-11-21T02:00:00Z", "clicks": 3, "bots": 0, "scans": 0},
            {"start": "2026-11-21T03:00:00Z", "clicks": 1, "bots": 0, "scans": 0}]));
        assert_eq!(hours["referrers"], json!([{"value": "2.example", "clicks": 2}, {"value": "0.example", "clicks": 1}]));
        assert_eq!(months["series"], json!([{"start": "2026-10-01T00:00:00Z", "clicks": 0, "bots": 0, "scans": 0},
            {"start": "2026-11-01T00:00:00Z", "clicks": 4, "bots": 0, "scans": 0}]));
        assert_eq!((&before["clicks"], before["series"].as_array().unwrap().len()), (&json!(0), 720));
    }

    fn a_question_that_makes_no_sense_is_400(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "asked"}));
        for query in [
            "?from=yesterday", "?to=2026-13-01T00:00:00Z", "?interval=week", "?limit=0", "?limit=1001", "?limit=x",
            "?unknown=1", "?limit=1&limit=2", "?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z",
            "?from=2027-01-01T00:00:00Z", "?from=0001-01-01T00:00:00Z&interval=hour",
            "?from=-009999-01-02T00:00:00Z", "?to=-009999-01-02T00:00:00Z",
        ] {
            app.api("GET", &format!("/links/asked/stats{query}"), None).assert_problem(400, "malformed_query");
        }
        app.api("GET", "/links/absent/stats", None).assert_problem(404, "link_not_found");
        app.get("/api/v1/links/asked/stats").assert_problem(401, "unauthenticated");
        app.api("POST", "/links/asked/stats", Some(&json!({}))).assert_problem(405, "method_not_allowed");
    }

    /// A plus that is not encoded is a space to every server.
    fn a_time_whose_plus_was_not_encoded_is_said_to_be_that(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "asked"}));
        let detail = |path: &str| app.api("GET", path, None).assert_problem(400, "malformed_query")["detail"].as_str().unwrap().to_owned();

        for (path, name) in [("/links/asked/stats?from=", "from"), ("/links/asked/stats?to=", "to"), ("/audit?since=", "since"), ("/audit?until=", "until")] {
            assert_eq!(detail(&format!("{path}2026-11-20T00:00:00+02:00")), format!("{name} is not valid: send the + of its offset as %2B."));
            assert!(detail(&format!("{path}2026-11-20T00:00:00-SENTINEL")).contains("RFC 3339"));
        }
        assert_eq!(app.api("GET", "/links/asked/stats?from=2026-11-20T00:00:00%2B02:00", None).status, 200);
    }

    /// The headers of older browsers and of WebKit.
    fn what_is_fetched_ahead_uses_up_no_click_limit(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "once", "max_clicks": 1}));

        for (name, value) in [("x-moz", "prefetch"), ("x-purpose", "preview"), ("purpose", "preview"), ("x-purpose", "prefetch"), ("sec-purpose", "prefetch")] {
            assert_eq!(app.send("GET", "/once", &[("user-agent", FIREFOX), (name, value)], b"").status, 302, "{name}: {value}");
        }
        let person = || app.send("GET", "/once", &[("user-agent", FIREFOX)], b"").status;
        assert_eq!((person(), person()), (302, 410));
    }

    fn programs_use_up_no_click_limit(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/", "slug": "limited", "max_clicks": 2}));
        let get = |agent: &str| app.send("GET", "/limited", &[("user-agent", agent)], b"").status;
        for _ in 0..3 {
            assert_eq!(get("Googlebot/2.1"), 302);
        }

        assert_eq!([get(FIREFOX), get(FIREFOX), get(FIREFOX), get("Googlebot/2.1")], [302, 302, 410, 410]);

        let stats = stats(&app, "limited", "");
        assert_eq!((&stats["clicks"], &stats["bots"]), (&json!(2), &json!(3)));
        assert_eq!(app.api("GET", "/links/limited", None).json()["clicks"], 2);
    }

    /// A preview used up the limit, and the browser of an app did not.
    fn a_click_limit_holds_for_browsers_within_apps_and_not_for_previews(backend) {
        const TELEGRAM: &str = "Mozilla/5.0 (Linux; Android 11; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36 Telegram-Android/11.2.1 (X; Android 11; SDK 30; AVERAGE)";
        const CARDYB: &str = "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)";
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/", "slug": "once", "max_clicks": 1}));
        let get = |agent: &str| app.send("GET", "/once", &[("user-agent", agent)], b"").status;

        assert_eq!([get(CARDYB), get(CARDYB), get(TELEGRAM), get(TELEGRAM), get(CARDYB)], [302, 302, 302, 410, 410]);

        let stats = stats(&app, "once", "");
        assert_eq!((&stats["clicks"], &stats["bots"]), (&json!(1), &json!(2)));
    }

    /// The header was thrown away as a whole.
    fn header_bytes_above_127_are_read(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        app.create(json!({"url": "https://example.org/", "slug": "bytes"}));
        let agent = "Mozilla/5.0 (Linux; Android 13; 红米 Note) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36";
        let mut stream = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
        let request = format!("GET /bytes HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nReferer: https://news.example/ü\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");

        let stats = stats(&app, "bytes", "");

        let one = |value: &str| json!([{"value": value, "clicks": 1}]);
        assert_eq!((&stats["browsers"], &stats["systems"], &stats["devices"]), (&one("Chrome"), &one("Android"), &one("mobile")));
        assert_eq!(stats["referrers"], one("news.example"));
    }

    /// An IPv4 address that came mapped into IPv6 was another visitor, and a line with other bytes hid the address.
    fn a_visitor_is_one_however_the_address_is_spelled(backend) {
        let settings = [("TRUSTED_PROXY_HOPS", "1"), ("CLICK_FLUSH_MS", "10")];
        let app = TestApp::start_with(backend, &settings);
        app.create(json!({"url": "https://example.org/", "slug": "spelled"}));
        for address in ["192.0.2.7", "::ffff:192.0.2.7", "[::ffff:c000:207]:443", "ü, 192.0.2.7"] {
            let headers = [("user-agent", FIREFOX), ("x-forwarded-for", address)];
            assert_eq!(app.send("GET", "/spelled", &headers, b"").status, 302);
        }

        let stats = stats(&app, "spelled", "");

        assert_eq!((&stats["clicks"], &stats["visitors"]), (&json!(4), &json!(1)));
    }

    /// Test visits came back with a link that was deleted and created again.
    fn clicks_that_wait_are_not_those_of_the_next_link_with_the_slug(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "60000")]);
        let get = || app.send("GET", "/again", &[("user-agent", FIREFOX)], b"").status;
        app.create(json!({"url": "https://example.org/1", "slug": "again"}));
        assert_eq!([get(), get(), get()], [302; 3]);
        assert_eq!(app.api("DELETE", "/links/again", None).status, 204);
        app.create(json!({"url": "https://example.org/2", "slug": "again"}));
        assert_eq!(get(), 302);
        app.api("PATCH", "/links/again", Some(&json!({"title": "of another revision"})));
        assert_eq!(get(), 302);
        let twin = app.twin(backend, &[("CLICK_FLUSH_MS", "10")]);

        app.stop();

        let stats = twin.api("GET", "/links/again/stats", None).json();
        assert_eq!((&stats["clicks"], &stats["visitors"]), (&json!(2), &json!(1)), "{stats}");
        assert_eq!(twin.api("GET", "/links/again", None).json()["clicks"], 2);
    }

    fn the_last_clicks_are_stored_at_the_stop(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "60000")]);
        app.create(json!({"url": "https://example.org/", "slug": "last"}));
        for _ in 0..50 {
            assert_eq!(app.send("GET", "/last", &[("user-agent", FIREFOX)], b"").status, 302);
        }
        let twin = app.twin(backend, &[("CLICK_FLUSH_MS", "10")]);

        app.stop();

        assert_eq!(twin.api("GET", "/links/last", None).json()["clicks"], 50);
    }
}

/// The visitor was sent to the old destination, and the click was taken of the new link.
#[test]
fn a_limit_is_that_of_the_link_that_is_followed() {
    let app = TestApp::start(Backend::Sqlite);
    let other = app.twin(Backend::Sqlite, &[]);
    app.create(json!({"url": "https://example.org/1", "slug": "limited", "max_clicks": 5}));
    let get = || other.send("GET", "/limited", &[("user-agent", FIREFOX)], b"");
    assert_eq!(get().header("location"), Some("https://example.org/1"));
    app.api("DELETE", "/links/limited", None);
    app.create(json!({"url": "https://example.org/2", "slug": "limited", "max_clicks": 1}));

    let (first, second) = (get(), get());

    assert_eq!(
        (first.status, first.header("location")),
        (302, Some("https://example.org/2"))
    );
    assert_eq!(second.status, 410);
}

/// No user agent, address or path is in the database.
#[test]
fn nothing_that_names_a_person_is_kept() {
    let settings = [("CLICK_FLUSH_MS", "10"), ("TRUSTED_PROXY_HOPS", "1")];
    let app = TestApp::start_with(Backend::Postgres, &settings);
    app.create(json!({"url": "https://example.org/", "slug": "private"}));
    let headers = [
        ("user-agent", FIREFOX),
        ("x-forwarded-for", "203.0.113.77"),
        (
            "referer",
            "https://user:password@ref.example:444/a/secret?path=1#here",
        ),
        ("authorization", ADMIN_KEY),
    ];
    app.send("GET", "/private", &headers, b"");
    settle(&app);

    let columns = "SELECT count(*) FROM (SELECT c::text AS row FROM clicks c UNION ALL SELECT v::text FROM click_values v
        UNION ALL SELECT u::text FROM unsummed_clicks u UNION ALL SELECT v::text FROM click_visitors v) AS t WHERE row ~ '203\\.0\\.113|secret|password|:444|Gecko|Firefox/140'";

    assert_eq!(app.database.number(columns), 0);
    assert_eq!(
        app.database
            .number("SELECT sum(number) FROM clicks WHERE referrer = 'ref.example'"),
        1
    );
}
