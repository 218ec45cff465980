//! What the log tells of changes, and the list that is read again: asked of the real binary.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::ADMIN_KEY;
use crate::process::Curtail;

struct Service {
    curtail: Curtail,
    _directory: tempfile::TempDir,
}

impl Service {
    fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("links.db").display());
        let mut all = vec![
            ("PORT", "0"),
            ("DATABASE_URL", url.as_str()),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("YOURLS_API", "true"),
        ];
        all.extend_from_slice(settings);
        let curtail = Curtail::start(&all);
        // The first requests come when the file has its tables.
        while !curtail.get("/health/startup").starts_with("HTTP/1.1 200") {}
        Self {
            curtail,
            _directory: directory,
        }
    }

    /// Sends a request and answers its status, its id and its body.
    fn ask(&self, key: &str, method: &str, path: &str, kind: &str, body: &str) -> (u16, String, Value) {
        let answer = self.curtail.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let id = head
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "))
            .unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (
            status,
            id.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    fn api(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, String, Value) {
        self.ask(
            key,
            method,
            &format!("/api/v1{path}"),
            "application/json",
            &body.to_string(),
        )
    }
}

#[test]
fn every_change_leaves_a_line_that_names_the_key_by_its_id() {
    let service = Service::start(&[]);
    let mut expected = Vec::new();
    let (_, request, issued) = service.api(
        ADMIN_KEY,
        "POST",
        "/keys",
        &json!({"name": "n", "scopes": ["links:create", "links:write"]}),
    );
    let (id, key) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    let admin = |action: &str, request: &str| json!({"action": action, "actor": "admin", "key_id": null, "request_id": request});
    let holder = |action: &str, request: &str| json!({"action": action, "actor": "key", "key_id": id, "request_id": request});
    let mut note = |mut line: Value, name: &str, value: Value| {
        line[name] = value;
        expected.push(line);
    };
    note(admin("key.created", &request), "key.id", json!(id));
    let link = |slug: &str| json!({"url": "https://example.org/?token=SENTINEL", "slug": slug});

    let (_, request, _) = service.api(key, "POST", "/links", &link("one"));
    note(holder("link.created", &request), "slug", json!("one"));
    let twice = json!({"links": [link("two"), link("one"), link("three")]});
    let (_, request, _) = service.api(key, "POST", "/links/bulk", &twice);
    note(holder("link.created", &request), "slug", json!("two"));
    note(holder("link.created", &request), "slug", json!("three"));
    for (body, action) in [
        (json!({"title": "t"}), "link.updated"),
        (json!({"disabled": true}), "link.disabled"),
        (json!({"disabled": false}), "link.enabled"),
    ] {
        let (_, request, _) = service.api(key, "PATCH", "/links/one", &body);
        note(holder(action, &request), "slug", json!("one"));
    }
    let (_, request, _) = service.api(key, "POST", "/links/disable", &json!({"domain": "example.org"}));
    note(holder("links.disabled", &request), "audit.count", json!(3));
    service.api(
        key,
        "POST",
        "/links/disable",
        &json!({"domain": "example.org", "disabled": false, "dry_run": true}),
    );
    let form =
        format!("action=shorturl&url=https%3A%2F%2Fexample.org%2FSENTINEL&keyword=four&signature={key}");
    let (status, request, _) = service.ask(
        "",
        "POST",
        "/yourls-api.php",
        "application/x-www-form-urlencoded",
        &form,
    );
    assert_eq!(status, 200);
    note(holder("link.created", &request), "slug", json!("four"));
    let path = format!("/yourls-api.php?action=version&signature={key}");
    assert_eq!(service.ask("", "GET", &path, "text/plain", "").0, 200);
    let import = "/api/v1/import?format=ndjson";
    let lines = format!("{}\n{}\n", link("five"), link("six"));
    let (_, request, _) = service.ask(key, "POST", import, "application/x-ndjson", &lines);
    note(holder("links.imported", &request), "audit.count", json!(2));
    service.ask(key, "POST", import, "application/x-ndjson", "");
    let (_, request, _) = service.api(key, "DELETE", "/links/two", &json!({}));
    note(holder("link.deleted", &request), "slug", json!("two"));
    service.api(key, "DELETE", "/links/two", &json!({}));
    let (_, request, _) = service.api(ADMIN_KEY, "DELETE", &format!("/keys/{id}"), &json!({}));
    note(admin("key.revoked", &request), "key.id", json!(id));
    service.curtail.signal(Signal::INT);
    let (_, log) = service.curtail.wait();

    let found: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["target"] == "curtail::audit")
        .map(|line| {
            let mut short = json!({"action": line["audit.action"], "actor": line["audit.actor"],
                "key_id": line["audit.key_id"], "request_id": line["request_id"]});
            for name in ["slug", "key.id", "audit.count"] {
                if !line[name].is_null() {
                    short[name] = line[name].clone();
                }
            }
            short
        })
        .collect();
    assert_eq!(found, expected);
    assert!(!log.contains("SENTINEL"), "a target's query is in the log");
    assert!(!log.contains(&key[4..]), "a key is in the log");
    assert!(!log.contains(ADMIN_KEY), "the key of the settings is in the log");
}

#[test]
fn blocked_domains_are_read_again_on_sighup_and_a_bad_list_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blocked.txt");
    fs::write(&file, "first.example").unwrap();
    let mut service = Service::start(&[
        ("BLOCKED_DOMAINS", "always.example"),
        ("BLOCKED_DOMAINS_FILE", file.to_str().unwrap()),
    ]);
    let after = |service: &mut Service, list: Option<&str>| {
        match list {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        service.curtail.signal(Signal::HUP);
        // The line that tells of it.
        let line = service.curtail.line_with("blocked_domains.count");
        let statuses = ["always.example", "first.example", "second.example"].map(|host| {
            let body = json!({"url": format!("https://www.{host}/")});
            service.api(ADMIN_KEY, "POST", "/links", &body).0
        });
        (line["severity"].clone(), statuses)
    };

    let second = after(&mut service, Some("second.example # new\n"));
    let bad = after(&mut service, Some("first.example\nsecond!example\n"));
    let gone = after(&mut service, None);
    let empty = after(&mut service, Some(""));

    assert_eq!(second, (json!("INFO"), [422, 201, 422]));
    assert_eq!(bad, (json!("ERROR"), [422, 201, 422]));
    assert_eq!(gone, (json!("ERROR"), [422, 201, 422]));
    assert_eq!(empty, (json!("INFO"), [422, 201, 201]));
}
