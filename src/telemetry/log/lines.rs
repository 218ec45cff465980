//! How a line looks: JSON with the field names of Cloud Logging, or text for a terminal.
//!
//! <https://cloud.google.com/logging/docs/structured-logging> names the special fields, and
//! <https://cloud.google.com/error-reporting/docs/formatting-error-messages> what makes an error a reported one.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value, json};
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::domain::Clock;
use crate::telemetry::gcp::Metadata;
use crate::telemetry::traces;

/// The form of an error that Error Reporting picks up without a stack trace.
const REPORTED: &str = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

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

type Fields = Map<String, Value>;

/// The fields of one span.
struct SpanFields(Fields);

/// Where a line belongs.
struct Trace {
    trace_id: String,
    span_id: Option<String>,
    sampled: bool,
}

/// What a line says.
struct Line {
    level: Level,
    time: String,
    message: String,
    fields: Fields,
    place: Option<(String, u64)>,
    target: &'static str,
    module: &'static str,
    trace: Option<Trace>,
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
        let mut fields = Fields::new();
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
        let mut fields = Fields::new();
        let mut traced = None;
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(SpanFields(own)) = span.extensions().get() {
                fields.extend(own.clone());
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
            fields.remove(field);
        }
        let line = Line {
            level: *about.level(),
            time: format!("{:.6}", self.clock.now()),
            message: taken_text(&mut fields, "message").unwrap_or_default(),
            place: place(&mut fields).or_else(|| Some((about.file()?.to_owned(), u64::from(about.line()?)))),
            target: about.target(),
            module: about.module_path().unwrap_or_else(|| about.target()),
            fields,
            trace,
        };
        let mut text = match self.form {
            Form::Json => escaped(&self.json(line).to_string()),
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

    fn json(&self, line: Line) -> Value {
        let mut all = Fields::new();
        all.insert("severity".to_owned(), severity(line.level).into());
        all.insert("time".to_owned(), line.time.into());
        all.insert("message".to_owned(), line.message.into());
        // What a line is about, where it says so: `curtail::audit`.
        if line.target != line.module {
            all.insert("target".to_owned(), line.target.into());
        }
        let mut labels = Fields::new();
        labels.insert("module".to_owned(), line.module.into());
        if let Some(id) = line.fields.get("request_id") {
            labels.insert("request_id".to_owned(), id.clone());
        }
        all.insert("logging.googleapis.com/labels".to_owned(), labels.into());
        if let Some(trace) = line.trace {
            if let Some(project) = self.metadata.known_project() {
                let name = format!("projects/{project}/traces/{}", trace.trace_id);
                all.insert("logging.googleapis.com/trace".to_owned(), name.into());
            } else {
                all.insert("trace_id".to_owned(), trace.trace_id.into());
            }
            if let Some(span) = trace.span_id {
                all.insert("logging.googleapis.com/spanId".to_owned(), span.into());
            }
            let sampled = "logging.googleapis.com/trace_sampled".to_owned();
            all.insert(sampled, trace.sampled.into());
        }
        if let Some((file, number)) = line.place {
            if line.level == Level::ERROR {
                let (service, version) = self.metadata.service();
                all.insert("@type".to_owned(), REPORTED.into());
                all.insert(
                    "serviceContext".to_owned(),
                    json!({ "service": service, "version": version.unwrap_or(env!("CARGO_PKG_VERSION")) }),
                );
                let report = json!({ "filePath": file, "lineNumber": number, "functionName": line.module });
                all.insert("context".to_owned(), json!({ "reportLocation": report }));
            }
            let place = json!({ "file": file, "line": number.to_string(), "function": line.module });
            all.insert("logging.googleapis.com/sourceLocation".to_owned(), place);
        }
        let mut request = Fields::new();
        for (name, value) in line.fields {
            match name.strip_prefix("httpRequest.") {
                Some(name) => drop(request.insert(name.to_owned(), value)),
                None => drop(all.entry(name).or_insert(value)),
            }
        }
        if !request.is_empty() {
            all.insert("httpRequest".to_owned(), request.into());
        }
        Value::Object(all)
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

/// The place that a line names itself: that of a panic.
fn place(fields: &mut Fields) -> Option<(String, u64)> {
    let file = taken_text(fields, "code.file.path")?;
    Some((file, fields.remove("code.line.number")?.as_u64()?))
}

fn taken_text(fields: &mut Fields, name: &str) -> Option<String> {
    match fields.remove(name)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// The severities of Cloud Logging.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
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
    for (name, value) in &line.fields {
        let _ = match value {
            Value::String(value) if !value.contains([' ', '"']) => write!(text, " {name}={}", escaped(value)),
            value => write!(text, " {name}={}", escaped(&value.to_string())),
        };
    }
    text
}

/// No control character of any kind, and no end of a line: whoever reads the log with other tools than a JSON parser
/// sees one line for each. In JSON these can stand in strings only, where this form means the same.
fn escaped(text: &str) -> String {
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if ends(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Takes fields as JSON values, but for those that speak to OpenTelemetry.
struct Collect<'a>(&'a mut Fields);

impl Collect<'_> {
    fn take(&mut self, field: &Field, value: Value) {
        if !field.name().starts_with("otel.") {
            self.0.insert(field.name().to_owned(), value);
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
