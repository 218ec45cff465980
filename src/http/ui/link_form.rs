//! The fields of a link in a form: as they were shown, as they were typed, and what differs.

use jiff::Timestamp;
use jiff::civil::DateTime;
use maud::{Markup, html};

use super::form::{self, Form, Line};
use crate::domain::{Change, Fault, FaultCode, Link, LinkPatch, time_in_utc};

const STATUSES: [(&str, &str); 4] = [
    ("302", "302 Found (not kept by browsers)"),
    ("307", "307 Temporary"),
    ("301", "301 Moved permanently (kept by browsers)"),
    ("308", "308 Permanent (kept by browsers)"),
];

/// The fields that a person can change, with what stands above them.
const FIELDS: [(&str, &str); 9] = [
    ("url", "Target"),
    ("title", "Title"),
    ("tags", "Tags"),
    ("valid_from", "Valid from"),
    ("expires_at", "Expires"),
    ("max_clicks", "Click limit"),
    ("redirect_status", "Status"),
    ("cache_seconds", "Kept by browsers"),
    ("forward_query", "Add the visitor's query string to the target"),
];

/// The state of the link, which has a form of its own.
const DISABLED: (&str, &str) = ("disabled", "Disabled");

/// What stands before the name of a field in the hidden field with the value that was shown.
const SHOWN: &str = "shown-";

/// What was typed, as the fields of a link.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) url: String,
    pub(super) title: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) redirect_status: Option<i64>,
    pub(super) cache_seconds: Option<i64>,
    pub(super) max_clicks: Option<i64>,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) faults: Vec<Fault>,
}

impl Typed {
    /// Reads the fields. What cannot be read is in `faults`.
    pub(super) fn of(form: &Form) -> Self {
        let mut faults = Vec::new();
        let mut number = |name: &str| match form.text(name).map(str::parse::<i64>) {
            Some(Err(_)) => {
                faults.push(fault(name, "a whole number"));
                None
            }
            number => number.and_then(Result::ok),
        };
        let (redirect_status, cache_seconds, max_clicks) = (
            number("redirect_status"),
            number("cache_seconds"),
            number("max_clicks"),
        );
        let mut time = |name: &str| {
            let text = form.text(name)?;
            let time = time_in_utc(text);
            if time.is_none() {
                faults.push(fault(name, "a day and a time, such as 2030-01-31T12:00"));
            }
            time
        };
        let (valid_from, expires_at) = (time("valid_from"), time("expires_at"));
        Self {
            url: form::target(form.get("url")),
            title: form.text("title").map(str::to_owned),
            tags: tags(form.get("tags")).into_iter().map(str::to_owned).collect(),
            redirect_status,
            cache_seconds,
            max_clicks,
            valid_from,
            expires_at,
            faults,
        }
    }
}

/// A link as a form showed it.
pub(super) struct Shown {
    revision: String,
    values: Form,
}

impl Shown {
    /// The link as it is now.
    pub(super) fn of_link(link: &Link) -> Self {
        Self {
            revision: link.revision.get().to_string(),
            values: filled(link),
        }
    }

    /// The link as the form that was sent showed it.
    pub(super) fn of_form(form: &Form) -> Self {
        let fields = FIELDS.iter().chain([&DISABLED]);
        let values = fields.map(|(name, _)| (*name, form.get(&format!("{SHOWN}{name}")).to_owned()));
        Self {
            revision: form.get(form::REVISION).to_owned(),
            values: Form::filled(values.collect()),
        }
    }

    /// Hidden fields that [`Shown::of_form`] reads.
    pub(super) fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name=(form::REVISION) value=(self.revision);
            @for (name, _) in FIELDS.iter().chain([&DISABLED]) {
                input type="hidden" name={ (SHOWN) (name) } value=(self.values.get(name));
            }
        }
    }

    /// The values as they were shown.
    pub(super) fn values(&self) -> &Form {
        &self.values
    }

    /// What the person has changed. A time that was not touched keeps its fractions of a second, which no field shows.
    pub(super) fn patch(&self, form: &Form, typed: Typed) -> LinkPatch {
        fn set<T>(changed: bool, value: T) -> Change<T> {
            if changed { Change::Set(value) } else { Change::Keep }
        }
        let changed = |name: &str| self.differs(name, form);
        LinkPatch {
            url: set(changed("url"), typed.url),
            title: set(changed("title"), typed.title),
            tags: set(changed("tags"), typed.tags),
            redirect_status: set(changed("redirect_status"), typed.redirect_status),
            cache_seconds: set(changed("cache_seconds"), typed.cache_seconds),
            forward_query: set(changed("forward_query"), form.has("forward_query")),
            valid_from: set(changed("valid_from"), typed.valid_from),
            expires_at: set(changed("expires_at"), typed.expires_at),
            max_clicks: set(changed("max_clicks"), typed.max_clicks),
            disabled: Change::Keep,
        }
    }

    /// What the person has typed, over the link as it is `now`.
    pub(super) fn merged(&self, form: &Form, now: &Self) -> Form {
        let value = |name: &'static str| {
            let source = if self.differs(name, form) {
                form
            } else {
                &now.values
            };
            (name, source.get(name).to_owned())
        };
        let fields = FIELDS.iter().map(|(name, _)| value(name));
        // A box that is not ticked is not sent.
        Form::filled(
            fields
                .filter(|(name, value)| *name != "forward_query" || !value.is_empty())
                .collect(),
        )
    }

    /// Each field that has another value `now`, with that value, and with the typed one if the person has changed it too.
    pub(super) fn changes_since(&self, form: &Form, now: &Self) -> Markup {
        let said = |text: &str| {
            if text.is_empty() {
                "(empty)".to_owned()
            } else {
                format!("“{text}”")
            }
        };
        let fields = FIELDS.iter().chain([&DISABLED]);
        let differing = fields.filter(|(name, _)| self.differs(name, &now.values));
        html! {
            ul {
                @for (name, label) in differing {
                    li {
                        b { (label) } ": now " (said(now.values.get(name)))
                        @if *name != DISABLED.0 && self.differs(name, form) { ", yours " (said(form.get(name))) }
                    }
                }
            }
        }
    }

    fn differs(&self, name: &str, other: &Form) -> bool {
        let (one, other) = (self.values.get(name).trim(), other.get(name).trim());
        match name {
            "tags" => tags(one) != tags(other),
            // Browsers leave out seconds that are zero.
            "valid_from" | "expires_at" => match (one.parse::<DateTime>(), other.parse::<DateTime>()) {
                (Ok(one), Ok(other)) => one != other,
                _ => one != other,
            },
            _ => one != other,
        }
    }
}

fn tags(text: &str) -> Vec<&str> {
    text.split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .collect()
}

fn fault(name: &str, wanted: &str) -> Fault {
    Fault::new(
        format!("/{name}"),
        FaultCode::WrongType,
        format!("this has to be {wanted}"),
    )
}

/// A time as browsers write it into a field.
fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The form with the values of a link.
fn filled(link: &Link) -> Form {
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, shown);
    let mut fields = vec![
        ("url", link.target.as_str().to_owned()),
        ("title", link.title.clone().unwrap_or_default()),
        ("tags", link.tags.join(", ")),
        ("redirect_status", link.redirect_status.to_string()),
        ("cache_seconds", number(link.cache_seconds.map(i64::from))),
        ("valid_from", time(link.valid_from)),
        ("expires_at", time(link.expires_at)),
        ("max_clicks", number(link.max_clicks)),
    ];
    let ticked = [("forward_query", link.forward_query), ("disabled", link.disabled)];
    fields.extend(
        ticked
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| (*name, "on".to_owned())),
    );
    Form::filled(fields)
}

/// The fields to be typed into. A new link has a slug as well.
pub(super) fn fields(is_new: bool, form: &Form, faults: &[Fault]) -> Markup {
    let line = |line: Line<'_>| line.show(form, faults);
    html! {
        (line(Line { name: "url", label: "Target", class: "mono", mode: Some("url"), required: true, ..Line::default() }))
        @if is_new {
            (line(Line { name: "slug", label: "Name", before: "/", class: "mono",
                hint: "Letters, digits, - and _. Empty: one is made up.", ..Line::default() }))
        }
        (line(Line { name: "title", label: "Title", hint: "For you, and for who looks at the preview.", ..Line::default() }))
        (line(Line { name: "tags", label: "Tags", hint: "Separated by commas.", ..Line::default() }))
        div.grid {
            (line(Line { name: "valid_from", label: "Valid from", kind: "datetime-local", hint: "UTC. Before it, the link is not found.", ..Line::default() }))
            (line(Line { name: "expires_at", label: "Expires", kind: "datetime-local", hint: "UTC. Empty: never.", ..Line::default() }))
            (line(Line { name: "max_clicks", label: "Click limit", mode: Some("numeric"), hint: "Gone after this many. A limit, not a secret. Empty: no limit.", ..Line::default() }))
            (form::choice("redirect_status", "Status", "", &STATUSES, form, faults))
            (line(Line { name: "cache_seconds", label: "Kept by browsers", mode: Some("numeric"),
                hint: "Seconds, with 301 and 308: changes do not reach browsers that keep it. Empty: 300.", ..Line::default() }))
        }
        fieldset {
            legend.hidden { "Behaviour" }
            (form::tick("forward_query", "Add the visitor's query string to the target", form))
        }
    }
}
