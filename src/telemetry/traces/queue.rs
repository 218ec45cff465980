//! Spans that wait for the exporter: a bounded queue. Nobody waits for a place in it.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use crate::telemetry::metrics::Counter;

/// Spans that may wait, the number that OpenTelemetry proposes.
const BOUND: usize = 2048;

/// What became of spans.
#[derive(Debug, Default)]
pub struct Figures {
    /// Taken by the receiver.
    pub exported: Counter,
    /// Lost because the queue was full.
    pub dropped: Counter,
    /// Not taken by the receiver.
    pub failed: Counter,
}

/// Where ended spans come out.
#[derive(Debug)]
pub struct Spans {
    pub(super) queue: mpsc::Receiver<SpanData>,
    pub(super) figures: Arc<Figures>,
}

/// Where ended spans go in.
#[derive(Debug)]
pub(super) struct Queue {
    queue: mpsc::Sender<SpanData>,
    figures: Arc<Figures>,
}

pub(super) fn new() -> (Queue, Spans) {
    let (sender, receiver) = mpsc::channel(BOUND);
    let figures = Arc::<Figures>::default();
    let queue = Queue {
        queue: sender,
        figures: Arc::clone(&figures),
    };
    let spans = Spans {
        queue: receiver,
        figures,
    };
    (queue, spans)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.figures.dropped.add_one();
        }
    }

    /// The exporter is asked instead, which can be waited for.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
