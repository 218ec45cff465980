//! The log: JSON lines with the field names of Cloud Logging, or text for a terminal.
//!
//! <https://cloud.google.com/logging/docs/structured-logging> names the special fields.

use std::fmt;
use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, Logs};
use crate::domain::{Clock, SystemClock};

/// What is wrong with the settings of the log, by variable.
#[must_use]
pub fn faults(config: &Logs) -> Vec<String> {
    match EnvFilter::try_new(&config.filter) {
        Ok(_) => Vec::new(),
        Err(_) => vec!["RUST_LOG is not valid: directives such as info or curtail=debug,info".to_owned()],
    }
}

/// What the HTTP server logs at each start and stop, and at every malformed request that a stranger sends: as an
/// error, which would fill an error report. `RUST_LOG` can ask for it by these names.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Starts the log of this process. A second call changes nothing.
pub fn start(config: &Logs) {
    let filter =
        EnvFilter::try_new(format!("{QUIET},{}", config.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // An error here means that a log was started before, which only tests do.
    let _ = match config.format {
        LogFormat::Json => registry
            .with(JsonLines::new(std::io::stdout, SystemClock))
            .try_init(),
        LogFormat::Text => {
            let colours = std::io::stdout().is_terminal();
            registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .with_target(false)
                        .with_ansi(colours),
                )
                .try_init()
        }
    };
}

/// Writes each event as one JSON object a line, with the fields of the spans that it happened in.
#[derive(Debug)]
pub struct JsonLines<O, C> {
    output: O,
    clock: C,
}

impl<O, C> JsonLines<O, C> {
    /// Lines go to what `output` gives; their times come from `clock`.
    pub fn new(output: O, clock: C) -> Self {
        Self { output, clock }
    }
}

/// The fields of one span.
struct Fields(Map<String, Value>);

impl<S, O, W, C> Layer<S> for JsonLines<O, C>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Fn() -> W + 'static,
    W: Write,
    C: Clock + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Fields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        line.insert("severity".to_owned(), severity(*event.metadata().level()).into());
        line.insert("time".to_owned(), time(self.clock.now()).into());
        line.insert("message".to_owned(), Value::Null);
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(Fields(fields)) = span.extensions().get() {
                line.extend(fields.clone());
            }
        }
        event.record(&mut Collect(&mut line));
        line.insert("target".to_owned(), event.metadata().target().into());
        if let (Some(file), Some(number)) = (event.metadata().file(), event.metadata().line()) {
            let place = serde_json::json!({ "file": file, "line": number.to_string() });
            line.insert("logging.googleapis.com/sourceLocation".to_owned(), place);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // A log that cannot be written has nowhere to say so.
        let _ = (self.output)().write_all(text.as_bytes());
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

fn time(now: Timestamp) -> String {
    format!("{now:.6}")
}

/// Takes fields as JSON values.
struct Collect<'a>(&'a mut Map<String, Value>);

impl Visit for Collect<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
