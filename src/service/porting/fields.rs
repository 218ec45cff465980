//! The fields of one link, from JSON or from a table: there a number or a time is a text.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Trouble;
use super::cells::{flag, whole};
use crate::domain::{GivenTime, time_in_utc};

/// The most characters of a field's name that are repeated.
const MAX_NAME_CHARS: usize = 64;

/// Fields, taken one by one. What is left over at the end is not known.
pub(super) struct Fields {
    object: Map<String, Value>,
    troubles: Vec<Trouble>,
}

impl Fields {
    pub(super) fn of(object: Map<String, Value>) -> Self {
        Self {
            object,
            troubles: Vec::new(),
        }
    }

    fn take<T>(
        &mut self,
        name: &str,
        wanted: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        match self.object.remove(name)? {
            Value::Null => None,
            value => {
                let read = read(value);
                if read.is_none() {
                    self.trouble(name, "wrong_type", wanted);
                }
                read
            }
        }
    }

    /// Notes what is wrong with a field.
    pub(super) fn trouble(&mut self, name: &str, code: &'static str, detail: &str) {
        self.troubles.push(Trouble::new(pointer(name), code, detail));
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "must be a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, name: &str) -> Option<String> {
        let before = self.troubles.len();
        let text = self.text(name).filter(|text| !text.is_empty());
        if text.is_none() && self.troubles.len() == before {
            self.trouble(name, "missing", "a link needs this");
        }
        text
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        self.take(name, "must be a whole number", |value| match value {
            Value::Number(number) => whole(&number.to_string()),
            Value::String(text) => whole(&text),
            _ => None,
        })
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, "must be true or false", |value| match value {
            Value::Bool(flag) => Some(flag),
            Value::Number(number) => Some(whole(&number.to_string())? != 0),
            Value::String(text) => flag(&text),
            _ => None,
        })
    }

    /// A time. One that names no zone is UTC.
    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.take(name, "must be a time such as 2026-11-21T02:00:00Z", |value| {
            let text = value.as_str()?.trim();
            let given = text.parse().ok().map(GivenTime::get);
            given.or_else(|| time_in_utc(text))
        })
    }

    /// A list of texts: an array, its JSON in a cell, or texts between `separator`s.
    pub(super) fn texts(&mut self, name: &str, separator: char) -> Option<Vec<String>> {
        self.take(name, "must be a list of texts", |value| {
            let value = match value {
                Value::String(text) if text.starts_with('[') => serde_json::from_str(&text).ok()?,
                Value::String(text) => {
                    let parts = text.split(separator).map(str::trim);
                    return Some(parts.filter(|part| !part.is_empty()).map(str::to_owned).collect());
                }
                value => value,
            };
            let Value::Array(items) = value else { return None };
            items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect()
        })
    }

    /// The fields of an object in a field; none if there is no object.
    pub(super) fn inner(&mut self, name: &str) -> Self {
        match self.object.remove(name) {
            Some(Value::Object(object)) => Self::of(object),
            _ => Self::of(Map::new()),
        }
    }

    /// Takes over what is wrong with the fields of an inner object.
    pub(super) fn absorb(&mut self, inner: Self) {
        self.troubles.extend(inner.troubles);
    }

    /// Takes fields that are of no use.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.object.remove(*name);
        }
    }

    /// Notes every field that is left.
    pub(super) fn refuse_others(&mut self) {
        let left = std::mem::take(&mut self.object);
        for name in left.keys() {
            self.trouble(name, "unknown_field", "there is no such field");
        }
    }

    /// What was wrong.
    pub(super) fn into_troubles(self) -> Vec<Trouble> {
        self.troubles
    }
}

/// RFC 6901 escapes two characters.
fn pointer(name: &str) -> String {
    let short: String = name.chars().take(MAX_NAME_CHARS).collect();
    format!("/{}", short.replace('~', "~0").replace('/', "~1"))
}
