//! Traces: which requests have one, and how their spans reach a receiver.
//!
//! A span is made only for what is sampled, and that is decided before anything is allocated: a redirect costs less
//! than a span. So every span that there is goes to the receiver.

mod exporter;
mod failure;
mod grpc;
mod queue;
mod sampling;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::config;

pub use exporter::{Exporter, Finish};
pub use queue::{Figures, Spans};
pub use sampling::{Remote, Sampler};

/// The target of every span that goes to the receiver. Their level is ERROR, so that no `RUST_LOG` takes them, and
/// the request ids that they give to the log, away.
pub const TARGET: &str = "curtail::trace";

/// What is wrong with the settings of traces, by variable.
#[must_use]
pub fn faults(config: &config::Traces) -> Vec<String> {
    let tls = grpc::faults(config);
    tls.into_iter().chain(exporter::faults(config)).collect()
}

/// What makes spans, and the queue that they come out of.
#[must_use]
pub fn build(config: &config::Traces) -> Option<(SdkTracer, Spans)> {
    config.endpoint.as_ref()?;
    let (queue, spans) = queue::new();
    let provider = SdkTracerProvider::builder()
        // The receiver is told of the process by the exporter, which asks for what it does not know yet.
        .with_resource(Resource::builder_empty().build())
        .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOn)
        .with_span_processor(queue)
        .build();
    Some((provider.tracer("curtail"), spans))
}

/// Whether the code that runs now is part of a trace.
#[must_use]
pub fn is_current() -> bool {
    let span = Span::current();
    span.metadata().is_some_and(|about| about.target() == TARGET)
}

/// Makes a span, not entered yet, the child of one in another process. `state` is that of the tracing systems on the way, as
/// `tracestate` has it; it is kept, and what is malformed is left out, as W3C's Trace Context says.
pub fn adopt(span: &Span, parent: &Remote, state: &str) {
    let flags = if parent.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let parent = SpanContext::new(
        TraceId::from(parent.trace_id),
        SpanId::from(parent.span_id),
        flags,
        true,
        state.parse().unwrap_or_default(),
    );
    // It fails only where nothing makes spans, and there is nothing to adopt there.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}
