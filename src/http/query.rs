//! Reads a query string: every parameter once, none that is not known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;

use crate::domain::GivenTime;

/// What is wrong with a query string: a sentence that repeats nothing of it.
#[derive(Debug)]
pub(super) struct MalformedQuery(pub(super) String);

/// A time of RFC 3339. In a query string `+` stands for a space, so an offset such as `+02:00` has to be encoded.
pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, MalformedQuery> {
    text.parse().map(GivenTime::get).map_err(|_| {
        let offset_begins = text.char_indices().rev().find(|(_, char)| *char == ' ');
        let with_plus = offset_begins.map(|(at, _)| [&text[..at], "+", &text[at + 1..]].concat());
        MalformedQuery(match with_plus.map(|text| text.parse::<GivenTime>()) {
            Some(Ok(_)) => format!("{name} is not valid: send the + of its offset as %2B."),
            _ => format!("{name} is not valid: send a time of RFC 3339, such as 2026-11-21T00:00:00Z."),
        })
    })
}

/// The parameters of a query string, taken one by one. What is left over at the end is not known.
pub(super) struct Parameters<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    /// The parameters of `text`; none of them is there twice.
    pub(super) fn of(text: &'a str) -> Result<Self, MalformedQuery> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            // What is no UTF-8 is read as this character.
            if value.contains(char::REPLACEMENT_CHARACTER) || value.contains('\0') {
                return Err(MalformedQuery(
                    "A parameter holds what is no text, or NUL.".to_owned(),
                ));
            }
            if parameters.insert(name, value).is_some() {
                return Err(MalformedQuery("A parameter is there twice.".to_owned()));
            }
        }
        Ok(Self(parameters))
    }

    /// A value that is parsed from text.
    pub(super) fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, MalformedQuery>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.0.remove(name).map(|text| text.parse::<T>()).transpose();
        value.map_err(|err| MalformedQuery(format!("{name} is not valid: {err}.")))
    }

    /// A time.
    pub(super) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, MalformedQuery> {
        self.0.remove(name).map(|text| time(name, &text)).transpose()
    }

    /// A text of 1 to `max_chars` characters.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        max_chars: usize,
    ) -> Result<Option<String>, MalformedQuery> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        if (1..=max_chars).contains(&text.chars().count()) {
            return Ok(Some(text.into_owned()));
        }
        Err(MalformedQuery(format!("{name} has 1 to {max_chars} characters.")))
    }

    /// Ends the reading: nothing is left.
    pub(super) fn finish(self) -> Result<(), MalformedQuery> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(MalformedQuery(
            "There is a parameter that is not known.".to_owned(),
        ))
    }
}
