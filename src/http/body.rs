//! Reads a JSON body: its size and time are bounded, and every fault of its fields is found at once.

use std::str::FromStr;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::payload;
use super::problem::Problem;
use crate::domain::{Fault, FaultCode, GivenTime};

/// The most bytes of a body.
pub(super) const LIMIT: usize = 16 * 1024;

/// The most bytes of a body with a link in it: twice the longest target that can be allowed.
pub(super) const LINK_LIMIT: usize = 64 * 1024;

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn json(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<Value, Problem> {
    parse(&bytes(request, payload, limit).await?).map_err(Problem::from)
}

/// What is no JSON: the parser's own words name a line and a column, and repeat nothing of the body.
#[derive(Debug)]
pub(super) struct MalformedJson(pub(super) String);

/// Parses a body. A byte order mark before it is skipped: RFC 8259, section 8.1.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, MalformedJson> {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    serde_json::from_slice(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
        .map_err(|err| MalformedJson(err.to_string()))
}

/// Reads a body of at most `limit` bytes that is said to be JSON.
pub(super) async fn bytes(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<web::Bytes, Problem> {
    if !is_json(request) {
        return Err(Problem::unsupported_media_type());
    }
    payload::collect(request, payload, limit).await
}

fn is_json(request: &HttpRequest) -> bool {
    let Some(Ok(value)) = request.headers().get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let kind = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The fields of a JSON object, taken one by one. What is left over at the end is not known.
pub(super) struct Fields {
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

/// A field that may be `null`: the inner `None`. The outer one is an absent field.
pub(super) type Nullable<T> = Option<Option<T>>;

impl Fields {
    /// The fields of `value`, which must be an object.
    pub(super) fn of(value: Value) -> Result<Self, Vec<Fault>> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                faults: Vec::new(),
            }),
            _ => Err(vec![Fault::new(
                "",
                FaultCode::WrongType,
                "the body must be a JSON object",
            )]),
        }
    }

    fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, (FaultCode, &'static str)>,
    ) -> Nullable<T> {
        match self.object.remove(name)? {
            Value::Null => Some(None),
            value => match read(value) {
                Ok(value) => Some(Some(value)),
                Err((code, detail)) => {
                    self.fault(name, code, detail);
                    None
                }
            },
        }
    }

    /// Whether a field is there and was not taken yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Whether no fault was found yet.
    pub(super) fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, name: &str, code: FaultCode, detail: &str) {
        self.faults.push(Fault::new(format!("/{name}"), code, detail));
    }

    /// Notes a fault of the object as a whole.
    pub(super) fn fault_of_all(&mut self, code: FaultCode, detail: &str) {
        self.faults.push(Fault::new("", code, detail));
    }

    /// A value that is parsed from text; `null` is none.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, wanted: &'static str) -> Option<T> {
        let text = self.text(name).flatten()?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(name, FaultCode::OutOfRange, wanted);
        }
        parsed
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Nullable<String> {
        self.take(name, |value| match value {
            Value::String(text) => Ok(text),
            _ => Err((FaultCode::WrongType, "must be a string")),
        })
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str) -> Nullable<i64> {
        self.take(name, |value| match value {
            Value::Number(number) if number.is_f64() => Err((FaultCode::WrongType, "must be a whole number")),
            Value::Number(number) => number
                .as_i64()
                .ok_or((FaultCode::OutOfRange, "the number is too large")),
            _ => Err((FaultCode::WrongType, "must be a number")),
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Nullable<bool> {
        self.take(name, |value| {
            value
                .as_bool()
                .ok_or((FaultCode::WrongType, "must be true or false"))
        })
    }

    /// A time: RFC 3339.
    pub(super) fn time(&mut self, name: &str) -> Nullable<Timestamp> {
        const WANTED: (FaultCode, &str) = (
            FaultCode::WrongType,
            "must be a time such as 2026-11-21T02:00:00Z",
        );
        self.take(name, |value| {
            let text = value.as_str().ok_or(WANTED)?;
            // The parser also reads ISO 8601 forms and time zone names that RFC 3339 does not have.
            let rfc3339 = text.len() >= 20
                && text
                    .as_bytes()
                    .get(10)
                    .is_some_and(|b| matches!(b, b'T' | b't' | b' '))
                && !text.contains('[');
            if rfc3339 {
                text.parse().map(GivenTime::get).map_err(|_| WANTED)
            } else {
                Err(WANTED)
            }
        })
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Nullable<Vec<String>> {
        const WANTED: (FaultCode, &str) = (FaultCode::WrongType, "must be an array of strings");
        self.take(name, |value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(WANTED),
                })
                .collect(),
            _ => Err(WANTED),
        })
    }

    /// A list of anything.
    pub(super) fn values(&mut self, name: &str) -> Nullable<Vec<Value>> {
        self.take(name, |value| match value {
            Value::Array(items) => Ok(items),
            _ => Err((FaultCode::WrongType, "must be an array")),
        })
    }

    /// A field that cannot be `null`.
    pub(super) fn required<T>(&mut self, name: &str, value: Nullable<T>) -> Option<T> {
        match value? {
            Some(value) => Some(value),
            None => {
                self.fault(name, FaultCode::WrongType, "cannot be null");
                None
            }
        }
    }

    /// Ends the reading: all faults, those of unknown fields too.
    pub(super) fn finish(mut self) -> Result<(), Vec<Fault>> {
        let unknown = self.object.keys().map(|name| {
            // RFC 6901 escapes these two characters.
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            Fault::new(pointer, FaultCode::UnknownField, "there is no such field")
        });
        self.faults.extend(unknown.collect::<Vec<_>>());
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults)
        }
    }
}
