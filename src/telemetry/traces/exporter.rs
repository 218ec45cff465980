//! Takes spans out of their queue and sends them, batch by batch.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use prost::bytes::Bytes;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::grpc::Grpc;
use super::queue::{Figures, Spans};
use crate::config;
use crate::telemetry::gcp::Metadata;

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Spans that are sent together, at the most.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How often a batch is sent at the most.
const TRIES: u32 = 5;
/// Time before the second try. It doubles with each further try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What is wrong with the headers.
pub(super) fn faults(config: &config::Traces) -> Vec<String> {
    match headers(config) {
        Some(_) => Vec::new(),
        None => vec![
            "OTEL_EXPORTER_OTLP_HEADERS is not valid: name=value, with commas between several".to_owned(),
        ],
    }
}

fn headers(config: &config::Traces) -> Option<HeaderMap> {
    let text = config.headers.as_ref().map_or("", |text| text.expose_secret());
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    config::pairs(text)?.into_iter().map(header).collect()
}

/// Sends spans. Nothing is connected to, and nobody asked, before there are some.
#[derive(Debug)]
pub struct Exporter {
    spans: Spans,
    config: config::Traces,
    attributes: Vec<KeyValue>,
    headers: HeaderMap,
    metadata: Arc<Metadata>,
    receiver: Grpc,
    finish: mpsc::Receiver<oneshot::Sender<()>>,
    /// Whether the end was asked for, or whoever could ask is gone; and who waits for it.
    ending: bool,
    asked: Option<oneshot::Sender<()>>,
    failing: bool,
    /// Spans of the batch that is being sent.
    sending: u64,
}

/// The pause after so many tries: exponential, with a jitter of half of it to either side, so that instances that failed
/// together do not come back together.
fn pause_after(tries: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.pow(tries - 1)).mul_f64(0.5 + fastrand::f64())
}

/// Spans that an end without waiting leaves behind have failed.
impl Drop for Exporter {
    fn drop(&mut self) {
        let mut left = self.sending;
        while self.spans.queue.try_recv().is_ok() {
            left += 1;
        }
        self.spans.figures.failed.add(left);
    }
}

/// Asks an exporter to come to its end.
#[derive(Debug, Clone)]
pub struct Finish(mpsc::Sender<oneshot::Sender<()>>);

impl Finish {
    /// Waits until the spans that have ended are sent; `false` if that took longer than `limit`.
    pub async fn within(&self, limit: Duration) -> bool {
        let (done, finished) = oneshot::channel();
        let all = async {
            match self.0.send(done).await {
                Ok(()) => finished.await.is_ok(),
                Err(_) => true,
            }
        };
        timeout(limit, all).await.unwrap_or(false)
    }
}

impl Exporter {
    /// An exporter of what comes out of `spans` of this `version` of the program. `None` if the settings name no
    /// receiver that could be reached.
    #[must_use]
    pub fn new(
        config: &config::Traces,
        metadata: Arc<Metadata>,
        spans: Spans,
        version: &'static str,
    ) -> Option<(Self, Finish)> {
        let (ask, finish) = mpsc::channel(1);
        let exporter = Self {
            spans,
            attributes: vec![
                KeyValue::new("service.name", config.service.clone()),
                KeyValue::new("service.version", version),
                KeyValue::new("telemetry.sdk.language", "rust"),
                KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            ],
            headers: headers(config)?,
            metadata,
            receiver: Grpc::new(config)?,
            config: config.clone(),
            finish,
            ending: false,
            asked: None,
            failing: false,
            sending: 0,
        };
        Some((exporter, Finish(ask)))
    }

    /// What became of spans so far.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.spans.figures)
    }

    /// Sends spans until [`Finish`] is asked for, and then those that have ended.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while !self.ending {
            self.gather(&mut batch).await;
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        let dropped = self.spans.figures.dropped.get();
        if dropped > 0 {
            tracing::warn!(
                spans.dropped = dropped,
                "{dropped} spans were dropped: the receiver was too slow"
            );
        }
        if let Some(asked) = self.asked.take() {
            // Who asked may have given up.
            let _ = asked.send(());
        }
    }

    /// Waits for a span, and then for others.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) {
        tokio::select! {
            asked = self.finish.recv() => (self.ending, self.asked) = (true, asked),
            _ = self.spans.queue.recv_many(batch, BATCH) => {}
        }
        if self.ending {
            return;
        }
        let queue = &mut self.spans.queue;
        let full = async {
            while batch.len() < BATCH {
                queue.recv_many(batch, BATCH - batch.len()).await;
            }
        };
        tokio::select! {
            asked = self.finish.recv() => (self.ending, self.asked) = (true, asked),
            () = full => {}
            () = sleep(GATHER) => {}
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let number = batch.len() as u64;
        self.sending = number;
        let mut tries = 0;
        // Made again for each try only if the process was not known whole.
        let mut message = None;
        let failure = loop {
            tries += 1;
            let failure = match timeout(self.config.timeout, self.try_once(&batch, &mut message)).await {
                Ok(Ok(refused)) => return self.note_sent(number, refused),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    self.receiver.disconnect();
                    Failure::lost("no answer in time")
                }
            };
            if tries == TRIES || !failure.passes || self.ending {
                break failure;
            }
            let pause = failure.delay.unwrap_or_default().max(pause_after(tries));
            tokio::select! {
                asked = self.finish.recv() => (self.ending, self.asked) = (true, asked),
                () = sleep(pause) => {}
            }
        };
        self.sending = 0;
        self.spans.figures.failed.add(number);
        // Once for each outage, not once for each batch.
        if !self.failing {
            self.failing = true;
            let cause = &failure.cause;
            tracing::warn!(error = cause, "the receiver of spans does not take them: {cause}");
        }
    }

    fn note_sent(&mut self, number: u64, refused: u64) {
        self.sending = 0;
        self.spans.figures.exported.add(number.saturating_sub(refused));
        self.spans.figures.failed.add(refused);
        if std::mem::take(&mut self.failing) {
            tracing::info!("the receiver of spans takes them again");
        }
    }

    /// Answers how many spans the receiver refused.
    async fn try_once(&mut self, batch: &[SpanData], message: &mut Option<Bytes>) -> Result<u64, Failure> {
        let mut headers = self.headers.clone();
        if self.config.google {
            let google = self.metadata.authorization().await;
            headers.extend(google.map_err(Failure::lost)?);
        }
        let body = match message {
            Some(message) => message.clone(),
            None => message.insert(self.encoded(batch).await).clone(),
        };
        match self.receiver.call(METHOD, headers, body).await {
            Ok(answer) => {
                let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
                let refused = answer.partial_success.map_or(0, |part| part.rejected_spans);
                Ok(u64::try_from(refused).unwrap_or_default())
            }
            // A token may have been taken back before its end: the next try shows a new one.
            Err(failure) if failure.unauthenticated && self.config.google => {
                self.metadata.forget_token();
                Err(Failure {
                    passes: true,
                    ..failure
                })
            }
            Err(failure) => Err(failure),
        }
    }

    async fn encoded(&self, batch: &[SpanData]) -> Bytes {
        let mut attributes = self.attributes.clone();
        attributes.extend(self.metadata.attributes().await);
        // What a person says of the process goes before what it says of itself.
        let given = self.config.attributes.iter();
        attributes.extend(given.map(|(name, value)| KeyValue::new(name.clone(), value.clone())));
        let resource = Resource::builder_empty().with_attributes(attributes).build();
        ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch.to_vec(), &(&resource).into()),
        }
        .encode_to_vec()
        .into()
    }
}
