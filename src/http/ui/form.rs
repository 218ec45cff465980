//! Forms: what was sent, whether it came from a page of ours, and fields that keep what was typed.

use actix_web::{HttpRequest, web};
use maud::{Markup, html};
use url::form_urlencoded;

use super::super::origin::{self, Initiator};
use super::super::problem::Problem;
use super::super::{Services, payload as content};
use super::guest::Guest;
use crate::domain::{Fault, Link, Revision, typed_target};
use crate::service::{Expected, Session};

/// The field that holds the token.
const TOKEN: &str = "token";

/// The field that holds the revision of the link that was shown.
pub(super) const REVISION: &str = "revision";

/// The most bytes of a form: percent-encoding makes up to three of one.
pub(super) const LIMIT: usize = 128 * 1024;

/// The notice when a form's token is not the session's: the page was opened in another session.
pub(super) const STALE: &str =
    "This page had been open for too long. Nothing was changed; please send it once more.";

/// The notice when a link is no longer as the form showed it.
pub(super) const CHANGED: &str = "This link was changed after this page was opened. Nothing was done: look at it as it is now, and try again.";

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    /// Whether it carries the token of its session. The form of a person without a session needs none: that a page of this
    /// service sent it is all there is to know.
    pub(super) is_ours: bool,
}

impl Form {
    /// Reads a form of at most `limit` bytes. One that another site sent is refused.
    pub(super) async fn read(
        request: &HttpRequest,
        payload: web::Payload,
        limit: usize,
        guest: &Guest,
        services: &Services,
    ) -> Result<Self, Problem> {
        if origin::initiator(request, &services.config) != Initiator::Own {
            return Err(Problem::foreign_origin().for_visitor());
        }
        let bytes = content::collect(request, payload, limit)
            .await
            .map_err(Problem::for_visitor)?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&bytes).into_owned().collect();
        let mut form = Self {
            fields,
            is_ours: false,
        };
        let is_token = |session: &Session| session.is_token(form.get(TOKEN));
        form.is_ours = guest.session.as_ref().is_none_or(is_token);
        Ok(form)
    }

    /// The fields of a query string.
    pub(super) fn of_query(query: &str) -> Self {
        Self {
            fields: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            is_ours: false,
        }
    }

    /// A form that is filled in.
    pub(super) fn filled(fields: Vec<(&str, String)>) -> Self {
        Self {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            is_ours: false,
        }
    }

    /// What was typed into a field; empty if nothing was.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// What was typed, without space around it; `None` if that is nothing.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        Some(self.get(name).trim()).filter(|text| !text.is_empty())
    }

    /// Every value of a field.
    pub(super) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// The revision that the form showed. A form without one fits no link.
    pub(super) fn expected(&self) -> Expected {
        let revision = self.get(REVISION).parse().ok();
        Expected::OneOf(revision.map(Revision::new).into_iter().collect())
    }

    /// Whether a box was ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

/// The token, for a form.
pub(super) fn token(guest: &Guest) -> Markup {
    html! {
        @if let Some(session) = &guest.session { input type="hidden" name=(TOKEN) value=(session.token()); }
    }
}

/// The revision of the link that a form shows.
pub(super) fn revision(link: &Link) -> Markup {
    html! { input type="hidden" name=(REVISION) value=(link.revision.get()); }
}

/// One line to be typed into.
#[derive(Default)]
pub(super) struct Line<'a> {
    /// The field's name in the form; the fault's pointer is the same with a slash before it.
    pub(super) name: &'static str,
    /// What stands above it.
    pub(super) label: &'static str,
    /// What stands below it.
    pub(super) hint: &'a str,
    /// What stands before it, on the same line.
    pub(super) before: &'a str,
    /// The kind of input; text if empty.
    pub(super) kind: &'static str,
    /// More classes.
    pub(super) class: &'static str,
    /// A form of input for keyboards on glass.
    pub(super) mode: Option<&'static str>,
    /// What browsers may fill in; off if empty.
    pub(super) fills: &'static str,
    /// Whether the form is of no use without it.
    pub(super) required: bool,
    /// Whether the page is opened to type here.
    pub(super) focus: bool,
}

impl Line<'_> {
    /// The field with what was typed, and its fault beside it.
    pub(super) fn show(&self, form: &Form, faults: &[Fault]) -> Markup {
        let typed = if self.kind == "password" {
            ""
        } else {
            form.get(self.name)
        };
        let fault = fault_of(faults, self.name);
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                div.with {
                    @if !self.before.is_empty() { span aria-hidden="true" { (self.before) } }
                    input id=(self.name) name=(self.name) value=(typed) class=(self.class)
                        type=(if self.kind.is_empty() { "text" } else { self.kind })
                        autocomplete=(if self.fills.is_empty() { "off" } else { self.fills })
                        autocapitalize="none" spellcheck="false" inputmode=[self.mode]
                        step=[(self.kind == "datetime-local").then_some("1")] required[self.required] autofocus[self.focus]
                        aria-invalid=[fault.map(|_| "true")] aria-describedby=[described(self.name, self.hint, fault)];
                }
                (notes(self.name, self.hint, fault))
            }
        }
    }
}

/// A choice among a few.
pub(super) fn choice(
    name: &'static str,
    label: &str,
    hint: &str,
    options: &[(&str, &str)],
    form: &Form,
    faults: &[Fault],
) -> Markup {
    let fault = fault_of(faults, name);
    let chosen = form.get(name);
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) aria-invalid=[fault.map(|_| "true")]
                aria-describedby=[described(name, hint, fault)] {
                @for (value, text) in options {
                    option value=(value) selected[chosen == *value] { (text) }
                }
            }
            (notes(name, hint, fault))
        }
    }
}

/// A box to be ticked.
pub(super) fn tick(name: &'static str, label: &str, form: &Form) -> Markup {
    html! {
        label.check {
            input type="checkbox" name=(name) value="on" checked[form.has(name)];
            span { (label) }
        }
    }
}

/// What stands below a field.
pub(super) fn notes(name: &str, hint: &str, fault: Option<&Fault>) -> Markup {
    html! {
        @if let Some(fault) = fault {
            span.fault id={ (name) "-fault" } { (sentence(&fault.detail)) }
        }
        @if !hint.is_empty() { small id={ (name) "-hint" } { (hint) } }
    }
}

/// The ids of what stands below a field.
pub(super) fn described(name: &str, hint: &str, fault: Option<&Fault>) -> Option<String> {
    let fault = fault.map(|_| format!("{name}-fault"));
    let hint = (!hint.is_empty()).then(|| format!("{name}-hint"));
    match (fault, hint) {
        (Some(fault), Some(hint)) => Some(format!("{fault} {hint}")),
        (fault, hint) => fault.or(hint),
    }
}

/// The fault of a field.
pub(super) fn fault_of<'a>(faults: &'a [Fault], name: &str) -> Option<&'a Fault> {
    faults.iter().find(|fault| {
        let field = fault.pointer.strip_prefix('/').unwrap_or_default();
        field == name || field.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
    })
}

/// A fault's words with a capital and a full stop.
fn sentence(detail: &str) -> String {
    let mut chars = detail.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    let dot = if detail.ends_with('.') { "" } else { "." };
    format!("{}{}{dot}", first.unwrap_or_default(), chars.as_str())
}

/// A target as people type it: without a scheme it is meant for `https`.
pub(super) fn target(typed: &str) -> String {
    typed_target(typed, "https")
}
