//! Makes a line of each event: JSON, or text for a terminal.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::TraceContextExt;
use serde_json::Value;
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::json::Json;
use crate::domain::Clock;
use crate::telemetry::gcp::Metadata;
use crate::telemetry::traces;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object.
    Json,
    /// For a person.
    Text {
        /// Whether the terminal shows colours.
        colours: bool,
    },
}

/// Writes each event as one line, with the fields of the spans that it happened in.
#[derive(Debug)]
pub struct Lines<O, C> {
    form: Form,
    output: O,
    clock: C,
    metadata: Arc<Metadata>,
    dispatch: OnceLock<WeakDispatch>,
}

impl<O, C> Lines<O, C> {
    /// Lines go to what `output` gives; their times come from `clock`, and the name of the project from `metadata`.
    pub fn new(form: Form, output: O, clock: C, metadata: Arc<Metadata>) -> Self {
        Self {
            form,
            output,
            clock,
            metadata,
            dispatch: OnceLock::new(),
        }
    }
}

/// Fields in the order in which they came, each name once.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, (&'static str, Value)> {
        self.0.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|field| field.0 == name).map(|field| &field.1)
    }

    /// The last one stays.
    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value,
            None => self.0.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.iter().position(|field| field.0 == name)?;
        Some(self.0.remove(at).1)
    }

    fn take_text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// The place that a line names itself: that of a panic.
    fn take_place(&mut self) -> Option<(String, u64)> {
        let file = self.take_text("code.file.path")?;
        Some((file, self.take("code.line.number")?.as_u64()?))
    }
}

/// The fields of one span.
struct SpanFields(Fields);

/// Where a line belongs.
pub(super) struct Trace {
    pub(super) trace_id: String,
    pub(super) span_id: Option<String>,
    pub(super) sampled: bool,
}

/// What a line says.
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) time: String,
    pub(super) message: String,
    pub(super) fields: Fields,
    pub(super) place: Option<(Cow<'static, str>, u64)>,
    pub(super) target: &'static str,
    pub(super) module: &'static str,
    pub(super) trace: Option<Trace>,
}

impl<S, O, W, C> Layer<S> for Lines<O, C>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Fn() -> W + 'static,
    W: Write,
    C: Clock + 'static,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let _ = self.dispatch.set(subscriber.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let about = event.metadata();
        let mut fields = Fields::default();
        let mut traced = None;
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(SpanFields(own)) = span.extensions().get() {
                for (name, value) in own.iter() {
                    fields.set(name, value.clone());
                }
            }
            if span.metadata().target() == traces::TARGET {
                traced = Some(span.id());
            }
        }
        event.record(&mut Collect(&mut fields));
        let trace = traced
            .and_then(|span| self.own_trace(&span))
            .or_else(|| foreign_trace(&fields));
        for field in ["trace_id", "span_id", "trace_sampled"] {
            fields.take(field);
        }
        let line = Line {
            level: *about.level(),
            time: format!("{:.6}", self.clock.now()),
            message: fields.take_text("message").unwrap_or_default(),
            place: match fields.take_place() {
                Some((file, line)) => Some((file.into(), line)),
                None => about.file().map(Cow::Borrowed).zip(about.line().map(u64::from)),
            },
            target: about.target(),
            module: about.module_path().unwrap_or_else(|| about.target()),
            fields,
            trace,
        };
        let mut text = match self.form {
            Form::Json => escaped(&self.json(&line)).into_owned(),
            Form::Text { colours } => text(&line, colours),
        };
        text.push('\n');
        // A log that cannot be written has nowhere to say so.
        let _ = (self.output)().write_all(text.as_bytes());
    }
}

impl<O, C> Lines<O, C> {
    /// The span of ours that a line was written in.
    fn own_trace(&self, span: &Id) -> Option<Trace> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(span, &dispatch)?;
        let span = context.span().span_context().clone();
        span.is_valid().then(|| Trace {
            trace_id: span.trace_id().to_string(),
            span_id: Some(span.span_id().to_string()),
            sampled: span.is_sampled(),
        })
    }

    fn json(&self, line: &Line) -> String {
        let metadata = &self.metadata;
        serde_json::to_string(&Json { line, metadata }).expect("text, numbers and truth values are JSON")
    }
}

/// The span elsewhere that a request came from, where it has none here.
fn foreign_trace(fields: &Fields) -> Option<Trace> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Trace {
        trace_id: text("trace_id")?,
        span_id: text("span_id"),
        sampled: fields
            .get("trace_sampled")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
    })
}

fn text(line: &Line, colours: bool) -> String {
    let colour = match line.level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    };
    let mut text = line.time.clone();
    // Writing to a string does not fail.
    let _ = if colours {
        write!(text, " \x1b[{colour}m{:>5}\x1b[0m ", line.level)
    } else {
        write!(text, " {:>5} ", line.level)
    };
    text.push_str(&escaped(&line.message));
    for (name, value) in line.fields.iter() {
        let _ = match value {
            Value::String(value) if !value.contains([' ', '"']) => write!(text, " {name}={}", escaped(value)),
            value => write!(text, " {name}={}", escaped(&value.to_string())),
        };
    }
    text
}

/// No control character of any kind, and no end of a line: whoever reads the log with other tools than a JSON parser
/// sees one line for each. In JSON these can stand in strings only, where this form means the same.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if ends(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

/// Takes fields as JSON values, but for those that speak to OpenTelemetry.
struct Collect<'a>(&'a mut Fields);

impl Collect<'_> {
    fn take(&mut self, field: &Field, value: Value) {
        if !field.name().starts_with("otel.") {
            self.0.set(field.name(), value);
        }
    }
}

impl Visit for Collect<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }
}
