//! The log: which lines are written, and where they go.

mod json;
mod level;
mod lines;
mod panics;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::gcp::Metadata;
use super::traces::{self, Spans};
use crate::config::{self, Logs};
use crate::domain::SystemClock;

pub use level::{InvalidLevel, Level, LogLevel};
pub use lines::{Form, Lines};

/// What is wrong with the settings of the log, by variable.
#[must_use]
pub fn faults(config: &Logs) -> Vec<String> {
    match level::targets(&config.filter) {
        Ok(_) => Vec::new(),
        Err(InvalidLevel) => {
            vec!["RUST_LOG is not valid: directives such as info or curtail=debug,info".to_owned()]
        }
    }
}

/// What a started log leaves to the rest of the program.
#[derive(Debug)]
pub struct Started {
    /// Changes which lines are written.
    pub level: LogLevel,
    /// Spans on their way out, if there are any to be.
    pub spans: Option<Spans>,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard output: of a program whose output the log is.
    Output,
    /// The standard error: of a command whose output is something else, which a script may read.
    Error,
}

/// Starts the log of this process, and with `traces` what makes spans. A second call changes nothing.
pub fn start(
    config: &Logs,
    stream: Stream,
    traces: Option<&config::Traces>,
    metadata: &Arc<Metadata>,
) -> Started {
    let targets =
        level::targets(&config.filter).unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let (filter, handle) = reload::Layer::new(targets);
    let form = match config.format {
        config::LogFormat::Json => Form::Json,
        config::LogFormat::Text => Form::Text {
            colours: match stream {
                Stream::Output => std::io::stdout().is_terminal(),
                Stream::Error => std::io::stderr().is_terminal(),
            },
        },
    };
    let writer = move || -> Box<dyn Write> {
        match stream {
            Stream::Output => Box::new(std::io::stdout()),
            Stream::Error => Box::new(std::io::stderr()),
        }
    };
    let lines = Lines::new(form, writer, SystemClock, Arc::clone(metadata));
    let (tracer, spans) = traces.and_then(traces::build).unzip();
    let spans_only = FilterFn::new(|about| about.is_span() && about.target() == traces::TARGET)
        .with_max_level_hint(LevelFilter::ERROR);
    let otel = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(spans_only)
    });
    // An error here means that a log was started before, which only tests do.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(otel)
        .try_init();
    panics::log_them();
    Started {
        level: LogLevel::new(&config.filter, Some(handle)),
        spans,
    }
}
