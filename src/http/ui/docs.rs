//! `/docs`: the API for people, made from its description.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::super::openapi::text_of_document;
use super::super::problem::Problem;
use super::super::{Services, origin};
use super::layout::{Place, page_for_everybody};
use super::visible;

/// The slug in examples.
const SLUG: &str = "x7Kq2mP";

/// `GET /docs`: the same page for everybody, whether signed in or not, so that it is rendered once.
pub(in crate::http) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let base = origin::base(&request, &services.config);
    let document = services.documents.docs(base, render).await.map_err(visible)?;
    Ok(document.answer(&request, "public, no-cache"))
}

/// The page for short URLs that begin with `base`.
fn render(base: &str) -> String {
    let document: Value = serde_json::from_str(text_of_document()).unwrap_or_default();
    let groups = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let operations = operations(&document);
    let of_group = |group: &Value| {
        let in_group = |operation: &&Operation<'_>| operation.about["tags"][0] == group["name"];
        operations.iter().filter(in_group).collect::<Vec<_>>()
    };
    let body = html! {
        h1 { "API" }
        p.lead { (prose(text(&document["info"], "description"))) }
        p {
            "The base is " code { (base) } ". The machine-readable description is "
            a href="/openapi.json" { "openapi.json" } " (OpenAPI 3.1)."
        }
        nav.row aria-label="Groups" {
            @for group in groups { a.button href={ "#" (text(group, "name")) } { (text(group, "description")) } }
        }
        @for group in groups {
            h2.group id=(text(group, "name")) { (text(group, "description")) }
            @for operation in of_group(group) { (section(&document, operation, base)) }
        }
        h2.group #objects { "Objects" }
        @for (name, schema) in object(&document["components"]["schemas"]) {
            @if schema["properties"].is_object() { (fields(&document, name, schema)) }
        }
    };
    page_for_everybody(Place::Docs, "API", &body).into_string()
}

struct Operation<'a> {
    method: String,
    path: &'a str,
    about: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, about) in object(methods) {
            all.push(Operation {
                method: method.to_uppercase(),
                path,
                about,
            });
        }
    }
    all
}

fn section(document: &Value, operation: &Operation<'_>, base: &str) -> Markup {
    let Operation { method, path, about } = operation;
    let id = text(about, "operationId");
    let parameters = about["parameters"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    html! {
        section.card aria-labelledby=(id) {
            h3 id=(id) { span.verb { (method) } code { (path) } }
            p { (prose(text(about, "summary"))) ". " (prose(text(about, "description"))) }
            pre tabindex="0" role="group" aria-label={ "Example: " (text(about, "summary")) } { (curl(operation, base)) }
            @if !parameters.is_empty() {
                (table(["Parameter", "In", "Meaning"], parameters.iter().map(|parameter| [
                    html! { code { (text(parameter, "name")) } },
                    html! { (text(parameter, "in")) },
                    html! { (prose(text(parameter, "description"))) " " (kind(document, &parameter["schema"])) },
                ])))
            }
            @if let Some((_, body)) = object(&about["requestBody"]["content"]).next() {
                @if body["schema"]["$ref"].is_string() { p { "The body is " (kind(document, &body["schema"])) "." } }
            }
            details {
                summary { "Answers" }
                (table(["Status", "What", "Body"], object(&about["responses"]).map(|(status, response)| {
                    let response = resolved(document, response);
                    [html! { code { (status) } }, html! { (prose(text(response, "description"))) }, body_of(document, response)]
                })))
                @for example in examples(about) { pre tabindex="0" role="group" aria-label="Example of an answer" { (example) } }
            }
        }
    }
}

/// The command that sends the example.
fn curl(operation: &Operation<'_>, base: &str) -> String {
    let Operation { method, path, about } = operation;
    let path = path.replace("{slug}", SLUG).replace("{id}", "k3yExAmPlE");
    let mut command = "curl".to_owned();
    if method != "GET" && method != "POST" {
        command.push_str(&format!(" -X {method}"));
    }
    if about["security"].is_array() {
        command.push_str(" -H \"Authorization: Bearer $CURTAIL_KEY\"");
    }
    if let Some((kind, body)) = object(&about["requestBody"]["content"]).next() {
        // A single quote would end the argument.
        let example = match &body["example"] {
            Value::String(form) => form.clone(),
            example => example.to_string(),
        };
        let example = example.replace('\'', "'\\''");
        command.push_str(&format!(" \\\n  -H 'Content-Type: {kind}' \\\n  -d '{example}'"));
    }
    if command.contains('\n') {
        command.push_str(" \\\n ");
    }
    format!("{command} {base}{}", path.trim_start_matches('/'))
}

/// The examples of answers that went well.
fn examples(about: &Value) -> Vec<String> {
    let good = object(&about["responses"]).filter(|(status, _)| status.starts_with('2'));
    let example = |(_, response): (&String, &Value)| {
        let (_, body) = object(&response["content"]).next()?;
        serde_json::to_string_pretty(body.get("example")?).ok()
    };
    good.filter_map(example).take(1).collect()
}

fn body_of(document: &Value, response: &Value) -> Markup {
    html! {
        @for (kind_of_body, body) in object(&response["content"]) {
            @let codes = body["schema"]["allOf"][1]["properties"]["code"]["enum"].as_array();
            @if let Some(codes) = codes {
                @for code in codes { div { code { (code.as_str().unwrap_or_default()) } } }
            } @else if kind_of_body == "application/json" {
                div { (kind(document, &body["schema"])) }
            } @else {
                div { (kind_of_body) }
            }
        }
    }
}

/// The fields of an object.
fn fields(document: &Value, name: &str, schema: &Value) -> Markup {
    let required = |field: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|name| name == field))
    };
    html! {
        section.card aria-labelledby={ "object-" (name) } {
            h3 id={ "object-" (name) } { (name) }
            p { (prose(text(schema, "description"))) }
            (table(["Field", "Type", "Meaning"], object(&schema["properties"]).map(|(field, about)| [
                html! { code { (field) } @if required(field) { " " span.soft title="always there" { "*" } } },
                kind(document, about),
                html! { (prose(text(about, "description"))) },
            ])))
        }
    }
}

/// What a value is, in a few words.
fn kind(document: &Value, schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let object = resolved(document, schema)["properties"].is_object();
        return html! {
            @if object { a href={ "#object-" (name) } { (name) } } @else { (kind(document, resolved(document, schema))) }
        };
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return html! { @for (number, choice) in choices.iter().enumerate() { @if number > 0 { " or " } (kind(document, choice)) } };
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let words = schema["enum"].as_array().map(|words| {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
            .collect();
        words.join(", ")
    });
    let bounds = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " of them"),
    ]
    .iter()
    .filter_map(|(least, most, unit)| match (&schema[least], &schema[most]) {
        (Value::Null, Value::Null) => None,
        (Value::Null, most) => Some(format!("at most {most}{unit}")),
        (least, Value::Null) => Some(format!("at least {least}{unit}")),
        (least, most) => Some(format!("{least} to {most}{unit}")),
    })
    .collect::<Vec<String>>();
    html! {
        span.soft {
            @if names.contains(&"array") { "list of " (kind(document, &schema["items"])) } @else { (names.join(" or ")) }
            @if schema["format"] == "date-time" { " (time)" }
            @if let Some(words) = words { ": " (words) }
            @if !bounds.is_empty() { ", " (bounds.join(", ")) }
        }
    }
}

fn table(head: [&str; 3], rows: impl Iterator<Item = [Markup; 3]>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label=(head[0]) {
            table {
                thead { tr { @for title in head { th { (title) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// A text with code in backticks.
fn prose(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().map(|path| path.trim_start_matches('#'));
    reference.and_then(|path| document.pointer(path)).unwrap_or(value)
}
