//! The description of the API: it is what the program does, and all of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::app::{ADMIN_KEY, Answer, TestApp};
use crate::on_both_stores;

const API: &str = "/api/v1";

/// Literals of the route table that are no path of their own.
const NO_PATHS: [&str; 1] = [API];

fn document() -> Value {
    serde_json::from_str(curtail::http::openapi()).unwrap()
}

/// What a `$ref` stands for, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect(reference),
        None => value,
    }
}

/// Method, path and description of every operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        let operation =
            |(method, operation): (&String, &Value)| (method.to_uppercase(), path.clone(), operation.clone());
        methods.map(operation).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// What is in `value` and not in `schema`, or the other way round.
fn differences(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let found: Vec<_> = choices
            .iter()
            .map(|choice| differences(document, choice, value, at))
            .collect();
        let fits = found.iter().filter(|differences| differences.is_empty()).count();
        return if fits == 1 { Vec::new() } else { found.concat() };
    }
    if schema.as_object().is_some_and(Map::is_empty) {
        return Vec::new();
    }
    let parts = schema["allOf"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![schema.clone()]);
    let parts: Vec<_> = parts.iter().map(|part| resolved(document, part)).collect();
    let names: Vec<_> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut found = Vec::new();
    if !names.is_empty() && !names.contains(&kind) {
        found.push(format!("{at} is {kind}"));
    }
    if let (Value::Array(items), false) = (value, schema["items"].is_null()) {
        for (place, item) in items.iter().enumerate() {
            found.extend(differences(
                document,
                &schema["items"],
                item,
                &format!("{at}/{place}"),
            ));
        }
    }
    if let Value::Object(fields) = value {
        let described: Map<_, _> = parts
            .iter()
            .filter_map(|part| part["properties"].as_object().cloned())
            .flatten()
            .collect();
        for (name, field) in fields {
            match described.get(name) {
                Some(schema) => found.extend(differences(document, schema, field, &format!("{at}/{name}"))),
                None => found.push(format!("{at}/{name} is not described")),
            }
        }
        let required = parts
            .iter()
            .filter_map(|part| part["required"].as_array())
            .flatten();
        let missing = required.filter(|name| !fields.contains_key(name.as_str().unwrap()));
        found.extend(missing.map(|name| format!("{at}/{name} is missing")));
    }
    found
}

/// A value that fits a field of a request.
fn sample(document: &Value, schema: &Value) -> Value {
    let schema = match schema["oneOf"].as_array() {
        Some(choices) => &choices[0],
        None => schema,
    };
    let schema = resolved(document, schema);
    if let Some(example) = schema["examples"].get(0).or(schema["enum"].get(0)) {
        return example.clone();
    }
    let names = schema["type"].to_string();
    match () {
        () if names.contains("boolean") => json!(false),
        () if names.contains("integer") => schema["minimum"].clone(),
        () if names.contains("array") => json!([sample(document, &schema["items"])]),
        () if schema["format"] == "date-time" => json!("2030-01-01T00:00:00Z"),
        () => json!("text"),
    }
}

/// Sends a request as it is described, with the examples of its parameters and its body.
fn send(app: &TestApp, method: &str, path: &str, operation: &Value, body: &str) -> Answer {
    let key = format!("Bearer {ADMIN_KEY}");
    let content = operation["requestBody"]["content"].as_object();
    let content_type = content
        .and_then(|content| content.keys().next())
        .map_or("", String::as_str);
    let headers = [("authorization", key.as_str()), ("content-type", content_type)];
    let headers = if body.is_empty() { &headers[..1] } else { &headers };
    app.send(method, path, headers, body.as_bytes())
}

fn example_body(operation: &Value) -> String {
    let content = operation["requestBody"]["content"].as_object();
    content
        .and_then(|content| content.values().next())
        .map(|content| match &content["example"] {
            Value::String(form) => form.clone(),
            example => example.to_string(),
        })
        .unwrap_or_default()
}

#[test]
fn the_written_document_is_the_one_that_the_code_makes() {
    let written = curtail::http::openapi();

    let made = curtail::http::openapi_made_anew();

    assert!(
        written == made,
        "the API has changed: cargo run --example openapi > docs/openapi.json"
    );
}

/// Every example of the document.
fn examples(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "example" || name == "value" {
                    found.push(value.clone());
                }
                examples(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| examples(item, found)),
        _ => {}
    }
}

/// The sample of statistics lacked a field that the answers have.
#[test]
fn the_answers_in_the_readme_are_examples_of_the_document() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut known = Vec::new();
    examples(&document(), &mut known);

    let samples: Vec<Value> = readme
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        // Lines of the log are no answers.
        .filter(|sample: &Value| sample["severity"].is_null())
        .collect();

    assert!(samples.len() >= 3, "the samples were not found");
    for sample in samples {
        assert!(known.contains(&sample), "{sample} is not in docs/openapi.json");
    }
}

#[test]
fn every_route_is_described() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/routes.rs");
    let table = std::fs::read_to_string(path).unwrap();
    let document = document();
    let described = document["paths"].as_object().unwrap();

    let code: Vec<_> = table
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect();
    let code = code.join("\n");
    let literals: Vec<_> = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with('/'))
        .collect();
    let missing: Vec<_> = literals
        .iter()
        .filter(|path| !NO_PATHS.contains(path))
        .filter(|path| !described.contains_key(**path) && !described.contains_key(&format!("{API}{path}")))
        .collect();

    assert!(literals.len() >= 15, "the route table was not read: {literals:?}");
    assert!(missing.is_empty(), "not in the document: {missing:?}");
}

#[test]
fn the_difference_between_a_schema_and_a_value_is_seen() {
    let document = document();
    let schema = json!({"$ref": "#/components/schemas/Links"});
    let found = |value: Value| differences(&document, &schema, &value, "");

    assert_eq!(found(json!({"links": [], "next_cursor": null})), [""; 0]);
    assert_eq!(
        found(json!({"links": [], "next_cursor": 1})),
        ["/next_cursor is integer"]
    );
    assert_eq!(
        found(json!({"links": [], "next_cursor": null, "more": 1})),
        ["/more is not described"]
    );
    assert_eq!(found(json!({"links": []})), ["/\"next_cursor\" is missing"]);
}

on_both_stores! {
    fn the_document_is_served_once_to_those_who_keep_it(backend) {
        let app = TestApp::start(backend);

        let first = app.get("/openapi.json");
        let tag = first.header("etag").unwrap();
        let again = app.send("GET", "/openapi.json", &[("if-none-match", tag)], b"");
        let other = app.send("GET", "/openapi.json", &[("if-none-match", "\"other\"")], b"");

        assert_eq!((first.status, first.header("content-type")), (200, Some("application/json")));
        assert_eq!(first.body, curtail::http::openapi());
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag)));
        assert_eq!((other.status, other.body.len()), (200, first.body.len()));
    }

    fn documents_are_the_same_for_everybody_and_compressed_for_clients_that_take_gzip(backend) {
        let app = TestApp::start(backend);
        let ask = |path: &str, headers: &[(&str, &str)]| {
            // A client that does not unpack by itself.
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", app.port)).unwrap();
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let request = format!("GET {path} HTTP/1.1\r\nHost: go.example.com\r\nConnection: close\r\n{headers}\r\n");
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
        };

        for path in ["/openapi.json", "/docs"] {
            let (plain_head, plain) = ask(path, &[]);
            let (head, packed) = ask(path, &[("Accept-Encoding", "br, gzip;q=0.5"), ("Cookie", "curtail=x")]);
            let (refused, unpacked) = ask(path, &[("Accept-Encoding", "gzip;q=0, identity")]);
            let tag = head.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let (known, nothing) = ask(path, &[("Accept-Encoding", "gzip"), ("If-None-Match", tag)]);

            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut text).unwrap();
            assert_eq!(text, plain, "{path}");
            assert!(packed.len() * 5 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
            assert!(head.contains("content-encoding: gzip") && !plain_head.contains("content-encoding"), "{head}");
            assert!(!refused.contains("content-encoding") && unpacked == plain, "{refused}");
            assert!(known.starts_with("http/1.1 304") && nothing.is_empty(), "{known}");
            for head in [&plain_head, &head, &known] {
                assert!(head.contains("vary: accept-encoding") && !head.contains("set-cookie"), "{head}");
            }
            assert!(!plain_head.contains(tag), "one tag for two representations: {tag}");
        }
        let page = String::from_utf8(ask("/docs", &[]).1).unwrap();
        assert!(page.contains("http://go.example.com/api/v1/links"));
    }

    fn every_operation_answers_as_it_is_described(backend) {
        let app = TestApp::start_with(backend, &[("SECURITY_CONTACT", "security@example.org"), ("YOURLS_API", "true")]);
        let document = document();
        let mut all = operations(&document);
        // What others need goes last.
        all.sort_by_key(|(method, _, _)| method == "DELETE");
        app.create(json!({"url": "https://example.org/", "slug": "described"}));
        let key = app.api("POST", "/keys", Some(&json!({"name": "a", "scopes": ["links:read"]}))).json();

        for (method, path, operation) in &all {
            let mut real = path.replace("{slug}", "described").replace("{id}", key["id"].as_str().unwrap());
            if path == "/yourls-api.php" {
                real.push_str("?action=version&format=json");
            }
            let answer = send(&app, method, &real, operation, &example_body(operation));
            let described = resolved(&document, &operation["responses"][answer.status.to_string()]);

            assert!(answer.status < 400, "{method} {path}: {} {}", answer.status, answer.body);
            assert!(described.is_object(), "{method} {path} answers {}", answer.status);
            let optional = |name: &&String| *name != "Idempotency-Replayed" && !name.starts_with("RateLimit");
            for name in described["headers"].as_object().unwrap().keys().filter(optional) {
                assert!(answer.header(name).is_some(), "{method} {path} answers no {name}");
            }
            let content = answer.header("content-type").map(|kind| kind.split(';').next().unwrap());
            let known = described["content"].as_object().and_then(|kinds| kinds.keys().next());
            assert_eq!(content, known.map(String::as_str), "{method} {path}");
            if content == Some("application/json") {
                let schema = &described["content"]["application/json"]["schema"];
                let found = differences(&document, schema, &answer.json(), "");
                assert!(found.is_empty(), "{method} {path}: {found:?}");
            }
        }
    }

    fn a_path_has_the_methods_that_are_described(backend) {
        let app = TestApp::start(backend);
        let document = document();

        for (path, item) in document["paths"].as_object().unwrap() {
            let real = path.replace("{slug}", "described").replace("{id}", "x");
            let answer = app.send("PROPFIND", &real, &[], b"");
            answer.assert_problem(405, "method_not_allowed");
            let allowed: BTreeSet<_> = answer.header("allow").unwrap().split(", ").map(str::to_lowercase).collect();
            let mut described: BTreeSet<_> = item.as_object().unwrap().keys().cloned().collect();
            if path.ends_with("/links/bulk") || path.ends_with("/links/disable") {
                // It is the path of a link called so too.
                described.extend(document["paths"]["/api/v1/links/{slug}"].as_object().unwrap().keys().cloned());
            }
            if described.contains("get") {
                described.insert("head".to_owned());
            }

            assert_eq!(allowed, described, "{path}");
        }
    }

    fn every_field_of_a_request_that_is_described_is_taken(backend) {
        let app = TestApp::start(backend);
        let document = document();
        app.create(json!({"url": "https://example.org/", "slug": "described"}));
        let mut tried = 0;

        for (method, path, operation) in operations(&document) {
            let content = operation["requestBody"]["content"].as_object();
            let Some(schema) = content.and_then(|content| content.values().next()) else { continue };
            let schema = resolved(&document, &schema["schema"]);
            let Some(properties) = schema["properties"].as_object() else { continue };
            let body: Map<_, _> = properties.iter().map(|(name, schema)| (name.clone(), sample(&document, schema))).collect();
            let path = path.replace("{slug}", "described");
            for (name, property) in properties {
                let mut send_with = |value: Value| {
                    tried += 1;
                    let body = Value::Object(body.clone().into_iter().chain([(name.clone(), value)]).collect());
                    let faults = send(&app, &method, &path, &operation, &body.to_string()).faults();
                    faults.iter().filter(|fault| fault.starts_with(&format!("/{name} ")) && !fault.ends_with("time_order")).count()
                };
                let long = |property: &Value, more: usize| {
                    property["maxLength"].as_u64().map(|n| "x".repeat(usize::try_from(n).unwrap() + more))
                };

                assert_eq!(send_with(body[name].clone()), 0, "{method} {path} {name}");
                for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                    if let Some(n) = property[bound].as_i64() {
                        assert_eq!((send_with(json!(n)), send_with(json!(n + beyond))), (0, 1), "{path} {name} {bound}");
                    }
                }
                if let (Some(longest), Some(longer)) = (long(property, 0), long(property, 1)) {
                    assert_eq!((send_with(json!(longest)), send_with(json!(longer))), (0, 1), "{path} {name}");
                }
            }
        }

        assert!(tried > 40, "no request was described");
    }
}
