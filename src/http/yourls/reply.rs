//! What YOURLS says, in each of its formats. Numbers are texts, as YOURLS writes them.

use std::fmt::Write;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Map, Value};

/// How a reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// Refused, in JSON.
    Jsonp,
    Xml,
    Simple,
}

impl Format {
    /// The format called so; without a name XML, and with an unknown one the simple one, as in YOURLS.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "" | "xml" => Self::Xml,
            "json" => Self::Json,
            "jsonp" => Self::Jsonp,
            _ => Self::Simple,
        }
    }

    /// The `Content-Type` of a reply.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json | Self::Jsonp => "application/json",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Simple => "text/plain; charset=utf-8",
        })
    }
}

/// A reply.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    fields: Map<String, Value>,
    simple: String,
}

impl Reply {
    /// A reply of which the simple format has nothing but `simple`.
    pub(super) fn new(status: u16, simple: impl Into<String>) -> Self {
        Self {
            status,
            fields: Map::new(),
            simple: simple.into(),
        }
    }

    /// A reply that something was not done.
    pub(super) fn failed(status: u16, message: &str) -> Self {
        let mut reply = Self::new(status, message);
        reply.text("message", message);
        reply.text("errorCode", status);
        reply
    }

    /// The same, with nothing in the simple format.
    pub(super) fn without_simple(self) -> Self {
        Self {
            simple: String::new(),
            ..self
        }
    }

    /// Adds a text.
    pub(super) fn text(&mut self, name: &str, value: impl ToString) {
        self.fields.insert(name.to_owned(), value.to_string().into());
    }

    /// Adds a group of fields.
    pub(super) fn group(&mut self, name: &str, fields: Map<String, Value>) {
        self.fields.insert(name.to_owned(), Value::Object(fields));
    }

    /// The status of the reply.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// The reply's body.
    pub(super) fn body(&self, format: Format) -> String {
        match format {
            Format::Simple => self.simple.clone(),
            Format::Json | Format::Jsonp => Value::Object(self.fields.clone()).to_string(),
            Format::Xml => {
                let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<root>".to_owned();
                write_fields(&mut text, &self.fields);
                text.push_str("</root>\n");
                text
            }
        }
    }

    /// The response.
    pub(super) fn response(&self, format: Format) -> HttpResponse {
        response(self.status, format, self.body(format).into_bytes())
    }
}

/// A response with a body that was made before.
pub(super) fn response(status: u16, format: Format, body: Vec<u8>) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
        .content_type(format.content_type())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

fn write_fields(text: &mut String, fields: &Map<String, Value>) {
    for (name, value) in fields {
        // Writing into a text does not fail.
        let _ = write!(text, "<{name}>");
        match value {
            Value::Object(fields) => write_fields(text, fields),
            Value::String(value) => escape(text, value),
            _ => {}
        }
        let _ = write!(text, "</{name}>");
    }
}

/// XML has no way to write most control characters.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '\r' => text.push_str("&#13;"),
            '\t' | '\n' => text.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
}
