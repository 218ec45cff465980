//! A receiver of spans: the reference implementation of gRPC, with the published messages of OTLP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// A receiver on a port of its own. It ends when this is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    inbox: Arc<Inbox>,
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Inbox {
    calls: Mutex<Vec<Call>>,
    arrived: Condvar,
    refusals: Mutex<Vec<Status>>,
}

/// One export.
#[derive(Debug, Clone)]
pub struct Call {
    pub headers: BTreeMap<String, String>,
    pub spans: Vec<Span>,
}

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: String,
    pub state: String,
    pub kind: i32,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
}

impl Receiver {
    pub fn start() -> Self {
        Self::refusing(Vec::new())
    }

    /// The first calls are answered with these, last one first.
    pub fn refusing(refusals: Vec<Status>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Arc::new(Inbox {
            refusals: Mutex::new(refusals),
            ..Inbox::default()
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let service = TraceServiceServer::new(Service(Arc::clone(&inbox)));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder().add_service(service);
                tokio::select! {
                    result = server.serve_with_incoming(incoming) => result.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            inbox,
            _stop: stop,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived, as soon as it is so many exports.
    #[track_caller]
    pub fn calls(&self, at_least: usize) -> Vec<Call> {
        let calls = self.inbox.calls.lock().unwrap();
        let (calls, late) = self
            .inbox
            .arrived
            .wait_timeout_while(calls, Duration::from_secs(20), |calls| calls.len() < at_least)
            .unwrap();
        assert!(!late.timed_out(), "{} exports arrived", calls.len());
        calls.clone()
    }

    /// Every span that has arrived.
    pub fn spans(&self) -> Vec<Span> {
        self.calls(0).into_iter().flat_map(|call| call.spans).collect()
    }
}

struct Service(Arc<Inbox>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request
            .metadata()
            .clone()
            .into_headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let spans = spans(request.into_inner());
        let refusal = self.0.refusals.lock().unwrap().pop();
        self.0.calls.lock().unwrap().push(Call { headers, spans });
        self.0.arrived.notify_all();
        match refusal {
            Some(status) => Err(status),
            None => Ok(Response::new(ExportTraceServiceResponse::default())),
        }
    }
}

/// Takes a message apart.
pub fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for group in request.resource_spans {
        let resource = map(group.resource.unwrap_or_default().attributes);
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                state: span.trace_state,
                kind: span.kind,
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: map(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    all
}

fn map(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => format!("{number} as a number"),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    pairs
        .into_iter()
        .filter_map(|pair| Some((pair.key, text(pair.value?.value?))))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
