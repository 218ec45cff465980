//! Blocked domains, taking many links down at once, and whom to tell.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Backend, TestApp};
use crate::keys_api::{issue, key_for, with_key};
use crate::on_both_stores;

fn make(app: &TestApp, links: Vec<Value>) {
    let answer = app.api("POST", "/links/bulk", Some(&json!({"links": links})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.json();
    assert!(
        results["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| result["status"] == 201),
        "{results}"
    );
}

/// Takes links down and answers how many, and what is shown of them.
fn disable(app: &TestApp, body: Value) -> (u64, Vec<String>) {
    let answer = app.api("POST", "/links/disable", Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["complete"], true);
    let mut examples: Vec<String> = serde_json::from_value(answer["examples"].clone()).unwrap();
    examples.sort();
    (answer["count"].as_u64().unwrap(), examples)
}

/// The links of a domain and of some that only look like it.
fn on_many_hosts(app: &TestApp) {
    make(
        app,
        [
            ("bare", "https://evil.example/"),
            ("port", "http://evil.example:8080/x"),
            ("below", "https://a.b.evil.example/?q=1"),
            ("deep", "https://z.evil.example:444/#f"),
            ("dashed", "https://not-evil.example/"),
            ("longer", "https://notevil.example/"),
            ("above", "https://example/"),
            ("within", "https://evil.example.org/"),
            ("inpath", "https://example.org/evil.example/"),
            ("inquery", "https://example.org/?u=https://evil.example/"),
            ("address", "http://8.8.8.8:81/"),
            ("sixth", "http://[2606:4700::1111]:81/"),
            ("punycode", "https://www.böse.example/"),
        ]
        .map(|(slug, url)| json!({"slug": slug, "url": url}))
        .to_vec(),
    );
}

on_both_stores! {
    /// A line of a hosts file, a rule or a comment in Latin-1 kept the service from starting, and `; com` blocked all of .com.
    fn public_block_lists_are_read(backend) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("blocked.txt");
        let mut list = b"# StevenBlack, in Latin-1: caf\xe9\n127.0.0.1 localhost\n::1 localhost\nfe80::1%lo0 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 hosts.example\n".to_vec();
        list.extend_from_slice(b"[Adblock Plus 2.0]\n! Title: uBlock\n||rule.example^\n@@||exception.example^\ngood.example##.banner\n||partly.example^$third-party\n");
        list.extend_from_slice(b"; com\nhttp://paged.example/a.exe\nhttp://sited.example/\n");
        fs::write(&file, list).unwrap();
        let app = TestApp::start_with(backend, &[("BLOCKED_DOMAINS_FILE", file.to_str().unwrap())]);
        let give = |host: &str| app.api("POST", "/links", Some(&json!({"url": format!("https://{host}/")})));

        for blocked in ["hosts.example", "www.rule.example", "sited.example"] {
            assert_eq!(give(blocked).faults(), ["/url blocked_domain"], "{blocked}");
        }
        for open in ["example.com", "exception.example", "good.example", "partly.example", "paged.example", "0.0.0.0.example"] {
            assert_eq!(give(open).status, 201, "{open}");
        }
    }

    fn a_blocked_domain_is_refused_wherever_a_target_is_given(backend) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("blocked.txt");
        fs::write(&file, "# phishing\nphish.example, *.böse.example # both\r\n\n.dotted.example 9.9.9.9\n").unwrap();
        let app = TestApp::start_with(backend, &[
            ("BLOCKED_DOMAINS", "evil.example BAD.example"), ("BLOCKED_DOMAINS_FILE", file.to_str().unwrap()),
        ]);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));

        for host in [
            "evil.example", "www.bad.example", "a.phish.example", "xn--bse-sna.example", "x.BÖSE.example", "dotted.example", "9.9.9.9", "9.9.2313",
        ] {
            let body = json!({"url": format!("https://{host}/")});

            let made = app.api("POST", "/links", Some(&body));
            let changed = app.api("PATCH", "/links/kept", Some(&body));
            let bulk = app.api("POST", "/links/bulk", Some(&json!({"links": [body]})));

            for answer in [&made, &changed] {
                assert_eq!((answer.status, answer.faults()), (422, vec!["/url blocked_domain".to_owned()]), "{host}");
            }
            assert_eq!(bulk.json()["results"][0]["problem"]["errors"][0]["code"], "blocked_domain", "{host}");
        }
        for host in ["notevil.example", "evil.example.org", "example", "xdotted.example", "19.9.9.9"] {
            assert_eq!(app.api("POST", "/links", Some(&json!({"url": format!("https://{host}/")}))).status, 201, "{host}");
        }
    }

    fn all_links_of_a_domain_are_taken_down_and_put_up_again_on_every_instance(backend) {
        let app = TestApp::start(backend);
        let twin = app.twin(backend, &[]);
        on_many_hosts(&app);
        let fit = ["bare", "below", "deep", "port"].map(str::to_owned).to_vec();
        let status = |slug: &str| [&app, &twin].map(|app| app.get(&format!("/{slug}")).status);
        assert_eq!(status("below"), [302, 302]);

        let dry = app.api("POST", "/links/disable", Some(&json!({"domain": "EVIL.example", "dry_run": true}))).json();
        assert_eq!((&dry["dry_run"], &dry["disabled"], &dry["count"]), (&json!(true), &json!(true), &json!(4)));
        assert_eq!(status("below"), [302, 302]);
        let down = disable(&app, json!({"domain": "EVIL.example"}));

        assert_eq!(down, (4, fit.clone()));
        assert_eq!(status("below")[0], 410);
        app.clock.advance(Duration::from_secs(5));
        for slug in &fit {
            assert_eq!(status(slug), [410, 410], "{slug}");
            assert_eq!(app.api("GET", &format!("/links/{slug}"), None).json()["disabled"], true);
        }
        for slug in ["dashed", "longer", "above", "within", "inpath", "inquery", "address", "sixth", "punycode"] {
            assert_eq!(status(slug), [302, 302], "{slug}");
        }
        assert_eq!(disable(&app, json!({"domain": "evil.example"})).0, 0);
        app.api("PATCH", "/links/deep", Some(&json!({"url": "https://example.org/"})));
        assert_eq!(disable(&app, json!({"domain": "evil.example", "disabled": false})).0, 3);
        app.clock.advance(Duration::from_secs(5));
        assert_eq!((status("below"), status("deep")), ([302, 302], [410, 410]));
        for (domain, count) in [("8.8.8.8", 1), ("[2606:4700::1111]", 1), ("xn--bse-sna.example", 1), ("example", 6)] {
            assert_eq!(disable(&app, json!({"domain": domain})).0, count, "{domain}");
        }
    }

    fn links_are_taken_down_by_key_by_tag_and_by_slug(backend) {
        let app = TestApp::start(backend);
        let (id, key) = issue(&app, json!({"name": "n", "scopes": ["links:create"]}));
        let link = |slug: &str, tags: &[&str]| json!({"url": format!("https://{slug}.example/"), "slug": slug, "tags": tags});
        for body in [link("k1", &["a"]), link("k2", &["b"])] {
            assert_eq!(with_key(&app, &key, "POST", "/links", Some(&body)).status, 201);
        }
        make(&app, vec![link("a1", &["a", "b"]), link("a2", &["b"]), link("a3", &[])]);
        let found = |body: Value| { let mut body = body; body["dry_run"] = json!(true); disable(&app, body).1.join(" ") };

        assert_eq!(found(json!({"key_id": id})), "k1 k2");
        assert_eq!(found(json!({"tag": "b"})), "a1 a2 k2");
        assert_eq!(found(json!({"tag": "b", "key_id": id})), "k2");
        assert_eq!(found(json!({"tag": "b", "domain": "a2.example"})), "a2");
        assert_eq!(found(json!({"slugs": ["a3", "k1", "nothing", "a3"]})), "a3 k1");
        assert_eq!(found(json!({"slugs": ["a3", "k1"], "key_id": id})), "k1");
        assert_eq!(found(json!({"slugs": ["a3", "k1"], "domain": "a3.example"})), "a3");
        assert_eq!(found(json!({"key_id": "nobody"})), "");
        assert_eq!(found(json!({"tag": "b", "disabled": false})), "");
        app.api("DELETE", &format!("/keys/{id}"), None);
        assert_eq!(disable(&app, json!({"key_id": id, "tag": "a"})).1, ["k1"]);
        assert_eq!(disable(&app, json!({"tag": "a"})).1, ["a1"]);
        assert_eq!(disable(&app, json!({"slugs": ["a1", "a2"]})).1, ["a2"]);
        assert_eq!(app.get("/a3").status, 302);
    }

    fn a_key_takes_down_what_it_may_change_and_nothing_else(backend) {
        let app = TestApp::start(backend);
        let (id, own) = issue(&app, json!({"name": "own", "scopes": ["links:create", "links:write"], "own_links_only": true}));
        let link = |slug: &str| json!({"url": "https://evil.example/", "slug": slug});
        assert_eq!(with_key(&app, &own, "POST", "/links", Some(&link("mine"))).status, 201);
        app.create(link("theirs"));
        let reader = key_for(&app, &["links:create", "links:read", "stats:read", "keys:admin"]);

        with_key(&app, &reader, "POST", "/links/disable", Some(&json!({"domain": "evil.example"}))).assert_problem(403, "insufficient_scope");
        let others = with_key(&app, &own, "POST", "/links/disable", Some(&json!({"key_id": "another"}))).json();
        let down = with_key(&app, &own, "POST", "/links/disable", Some(&json!({"domain": "evil.example"}))).json();
        let again = with_key(&app, &own, "POST", "/links/disable", Some(&json!({"key_id": id, "slugs": ["theirs", "mine"], "disabled": false}))).json();

        assert_eq!(others["count"], 0);
        assert_eq!((&down["count"], &down["examples"]), (&json!(1), &json!(["mine"])));
        assert_eq!(again["examples"], json!(["mine"]));
        assert_eq!(app.get("/theirs").status, 302);
    }

    fn every_fault_of_a_selection_is_named(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));
        let rows = [
            (json!({}), vec![" missing"]),
            (json!({"dry_run": true, "domain": null}), vec![" missing"]),
            (json!({"domain": "https://example.org/"}), vec!["/domain out_of_range"]),
            (json!({"domain": "a..b"}), vec!["/domain out_of_range"]),
            (json!({"domain": ""}), vec!["/domain out_of_range"]),
            (json!({"domain": 5}), vec!["/domain wrong_type"]),
            (json!({"key_id": "a b"}), vec!["/key_id out_of_range"]),
            (json!({"tag": ""}), vec!["/tag out_of_range"]),
            (json!({"tag": "x".repeat(65)}), vec!["/tag out_of_range"]),
            (json!({"tag": "a\0"}), vec!["/tag out_of_range"]),
            (json!({"slugs": []}), vec!["/slugs out_of_range"]),
            (json!({"slugs": vec!["x"; 1001]}), vec!["/slugs out_of_range"]),
            (json!({"slugs": ["kept", "a b", "ü"]}), vec!["/slugs/1 slug_invalid", "/slugs/2 slug_invalid"]),
            (json!({"slugs": "kept"}), vec!["/slugs wrong_type"]),
            (json!({"tag": "t", "disabled": "yes", "dry_run": 1}), vec!["/disabled wrong_type", "/dry_run wrong_type"]),
            (json!({"tag": "t", "owner": "x"}), vec!["/owner unknown_field"]),
            (json!([]), vec![" wrong_type"]),
        ];
        for (body, expected) in rows {
            let answer = app.api("POST", "/links/disable", Some(&body));

            answer.assert_problem(422, "invalid_patch");
            assert_eq!(answer.faults(), expected, "{body}");
        }
        assert_eq!(app.get("/kept").status, 302);
    }

    fn more_links_than_one_transaction_takes_are_taken_down(backend) {
        let app = TestApp::start(backend);
        for part in 0..6 {
            make(&app, (0..500).map(|n| json!({
                "url": format!("https://h{}.evil.example/{part}/{n}", n % 7), "slug": format!("s-{part}-{n}"), "tags": ["t"],
            })).collect());
        }
        app.create(json!({"url": "https://example.org/", "slug": "kept", "tags": ["t"]}));
        app.create(json!({"url": "https://evil.example/", "slug": "disable"}));
        let before = app.api("GET", "/links/s-0-0", None).json();

        let dry = disable(&app, json!({"domain": "evil.example", "dry_run": true}));
        let down = disable(&app, json!({"domain": "evil.example", "tag": "t"}));
        let rest = disable(&app, json!({"tag": "t"}));

        assert_eq!((dry.0, dry.1.len()), (3001, 10));
        assert_eq!((down.0, rest), (3000, (1, vec!["kept".to_owned()])));
        let live = app.api("GET", "/links?state=live", None).json();
        assert_eq!((live["links"].as_array().unwrap().len(), &live["links"][0]["slug"]), (1, &json!("disable")));
        assert_eq!(app.api("GET", "/links/disable", None).status, 200, "a link called disable can be seen");
        let mut after = app.api("GET", "/links/s-0-0", None).json();
        assert_eq!(after["disabled"], true);
        after["disabled"] = json!(false);
        assert_eq!(after, before, "nothing else is changed");
        assert_eq!([app.get("/s-5-499").status, app.get("/disable").status], [410, 302]);
    }
}

#[test]
fn security_txt_says_whom_to_tell_until_when() {
    let app = TestApp::start_with(
        Backend::Sqlite,
        &[
            (
                "SECURITY_CONTACT",
                "security@example.org, https://example.org/report,tel:+1-201-555-0123",
            ),
            ("SECURITY_POLICY", "https://example.org/policy"),
            ("SECURITY_LANGUAGES", "en, de"),
            ("BASE_URL", "https://go.example.com"),
        ],
    );

    let answer = app.get("/.well-known/security.txt");

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines = [
        "Contact: mailto:security@example.org",
        "Contact: https://example.org/report",
        "Contact: tel:+1-201-555-0123",
        "Expires: 2027-05-20T00:00:00Z",
        "Policy: https://example.org/policy",
        "Preferred-Languages: en, de",
        "Canonical: https://go.example.com/.well-known/security.txt",
        "",
    ];
    assert_eq!(answer.body, lines.join("\r\n"));
    let posted = app.send("POST", "/.well-known/security.txt", &[], b"");
    posted.assert_problem(405, "method_not_allowed");
}

#[test]
fn without_a_contact_there_is_no_security_txt() {
    let app = TestApp::start(Backend::Sqlite);

    let answer = app.get("/.well-known/security.txt");

    answer.assert_problem(404, "not_found");
}

#[test]
fn a_list_says_what_an_operator_may_not_expect_of_it() {
    let list = |text: &str| text.parse::<curtail::domain::DomainList>();

    assert_eq!(
        list("evil.example\n8.8.8.8 [2001:db8::1]").unwrap().remarks(),
        Vec::<String>::new()
    );
    let remarks = list("evil.example\ncom\n@@||good.example^\nhttp://evil.example/a.exe")
        .unwrap()
        .remarks();
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(
        remarks[0].starts_with("2 lines") && remarks[1].starts_with("line 2 "),
        "{remarks:?}"
    );
    // What is no name is refused with its line, and never taken for two.
    for (text, line) in [
        ("a.example\nbad domain!name", 2),
        ("evil.example CNAME .", 1),
        ("a..b", 1),
        ("caf\u{fffd}.example", 1),
    ] {
        assert_eq!(list(text).unwrap_err().line, line, "{text}");
    }
}
