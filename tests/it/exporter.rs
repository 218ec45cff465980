//! How spans are sent: tokens, tries, encryption.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curtail::config::{Config, Env, Traces};
use curtail::telemetry::gcp::Metadata;
use curtail::telemetry::traces::{self, Exporter, Figures, Finish};
use opentelemetry::trace::{Span, Tracer};
use opentelemetry_sdk::trace::SdkTracer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tonic::Status;

use crate::otlp::Receiver;

/// An exporter at work.
struct Sending {
    tracer: SdkTracer,
    figures: Arc<Figures>,
    finish: Finish,
    runtime: tokio::runtime::Runtime,
}

impl Sending {
    fn start(config: &Traces) -> Self {
        let (tracer, spans) = traces::build(config).unwrap();
        let metadata = Arc::new(Metadata::new(&config.place));
        let (exporter, finish) = Exporter::new(config, metadata, spans, "1.2.3").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let figures = exporter.figures();
        runtime.spawn(exporter.run());
        Self {
            tracer,
            figures,
            finish,
            runtime,
        }
    }

    fn span(&self, name: &'static str) {
        self.tracer.start(name).end();
    }

    fn finish(&self) -> bool {
        self.runtime.block_on(self.finish.within(Duration::from_secs(20)))
    }
}

fn config(pairs: &[(&str, &str)]) -> Traces {
    let mut env = Env::from_pairs(pairs.iter().copied());
    let config = Config::read(&mut env);
    env.finish().unwrap();
    config.traces
}

/// A metadata server that gives a new token, good for so many seconds, each time.
struct MetadataServer {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl MetadataServer {
    fn start(token_seconds: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (log, tokens) = (Arc::clone(&asked), AtomicU32::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let body = match path.trim_start_matches("/computeMetadata/v1/") {
                    "project/project-id" => "my-project".to_owned(),
                    "instance/region" => "projects/123/regions/europe-west1".to_owned(),
                    "instance/id" => "00bf4bf02d".to_owned(),
                    "instance/service-accounts/default/token" => {
                        let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
                        format!(
                            "{{\"access_token\":\"ya29.{number}\",\"expires_in\":{token_seconds},\"token_type\":\"Bearer\"}}"
                        )
                    }
                    other => panic!("asked for {other}"),
                };
                let known = head.contains("Metadata-Flavor: Google");
                log.lock().unwrap().push(path);
                let status = if known { "200 OK" } else { "403 Forbidden" };
                let answer = format!("HTTP/1.0 {status}\r\nMetadata-Flavor: Google\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { host, asked }
    }

    fn asked(&self, what: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|path| path.ends_with(what)).count()
    }
}

/// Settings for Google's own receiver, which is played by another one.
fn google(receiver: &Receiver, metadata: &MetadataServer) -> Traces {
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://telemetry.googleapis.com"),
        ("GCE_METADATA_HOST", &metadata.host),
        ("K_SERVICE", "links"),
        ("K_REVISION", "links-00001"),
        ("DATABASE_URL", "postgres://db/curtail"),
    ];
    let config = config(&settings);
    assert!(config.google);
    Traces {
        endpoint: Some(receiver.url().parse().unwrap()),
        ..config
    }
}

#[test]
fn google_is_shown_a_token_and_the_project_and_told_where_this_runs() {
    let (receiver, metadata) = (Receiver::start(), MetadataServer::start(3600));
    let sending = Sending::start(&google(&receiver, &metadata));
    assert_eq!(metadata.asked(""), 0, "nobody is asked before there is a span");

    sending.span("first");
    receiver.calls(1);
    sending.span("second");
    assert!(sending.finish());

    let calls = receiver.calls(2);
    for call in &calls {
        assert_eq!(call.headers["authorization"], "Bearer ya29.1");
        assert_eq!(call.headers["x-goog-user-project"], "my-project");
    }
    let resource = &calls[0].spans[0].resource;
    for (key, value) in [
        ("service.name", "links"),
        ("service.version", "1.2.3"),
        ("cloud.provider", "gcp"),
        ("cloud.platform", "gcp_cloud_run"),
        ("cloud.region", "europe-west1"),
        ("cloud.account.id", "my-project"),
        ("gcp.project_id", "my-project"),
        ("faas.name", "links"),
        ("faas.version", "links-00001"),
        ("faas.instance", "00bf4bf02d"),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
    for what in ["token", "project-id", "region", "instance/id"] {
        assert_eq!(metadata.asked(what), 1, "{what} is asked for once");
    }
    assert_eq!(sending.figures.exported.get(), 2);
}

#[test]
fn a_token_near_its_end_is_renewed_when_it_is_used() {
    let (receiver, metadata) = (Receiver::start(), MetadataServer::start(299));
    let sending = Sending::start(&google(&receiver, &metadata));

    sending.span("first");
    receiver.calls(1);
    sending.span("second");
    assert!(sending.finish());

    let calls = receiver.calls(2);
    assert_eq!(calls[0].headers["authorization"], "Bearer ya29.1");
    assert_eq!(calls[1].headers["authorization"], "Bearer ya29.2");
}

#[test]
fn a_token_that_is_refused_is_replaced() {
    let receiver = Receiver::refusing(vec![Status::unauthenticated("expired")]);
    let metadata = MetadataServer::start(3600);
    let sending = Sending::start(&google(&receiver, &metadata));

    sending.span("only");
    let calls = receiver.calls(2);
    assert!(sending.finish());

    assert_eq!(calls[1].headers["authorization"], "Bearer ya29.2");
    assert_eq!(
        (sending.figures.exported.get(), sending.figures.failed.get()),
        (1, 0)
    );
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
    let receiver = Receiver::refusing(vec![
        Status::invalid_argument("no"),
        Status::unavailable("not now"),
    ]);
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-team=links, x-key=a%20b".to_owned(),
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.version=mine".to_owned()),
    ];
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let sending = Sending::start(&config(&settings));

    sending.span("first");
    let calls = receiver.calls(2);
    sending.span("second");
    assert!(sending.finish());

    assert_eq!(
        calls[0].spans[0].span_id, calls[1].spans[0].span_id,
        "tried again"
    );
    assert_eq!(
        (
            calls[0].headers["x-team"].as_str(),
            calls[0].headers["x-key"].as_str()
        ),
        ("links", "a b")
    );
    assert_eq!(calls[0].spans[0].resource["service.version"], "mine");
    assert_eq!(
        (sending.figures.exported.get(), sending.figures.failed.get()),
        (1, 1)
    );
}

fn plain(receiver: &Receiver) -> Traces {
    config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url())])
}

/// google.rpc.Status with a google.rpc.RetryInfo of 300 ms, as protobuf writes them.
fn retry_info() -> Vec<u8> {
    const KIND: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
    let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    // Nanoseconds, as a varint.
    let duration = [0x10, 0x80, 0xc6, 0x86, 0x8f, 0x01];
    let info = field(0x0a, &duration);
    let any = [field(0x0a, KIND), field(0x12, &info)].concat();
    [vec![0x08, 8], field(0x1a, &any)].concat()
}

/// It was tried again without being asked to.
#[test]
fn an_exhausted_receiver_is_left_alone_unless_it_says_when_to_come_back() {
    let with = Status::with_details(tonic::Code::ResourceExhausted, "later", retry_info().into());
    let receiver = Receiver::refusing(vec![Status::resource_exhausted("no"), with]);
    let sending = Sending::start(&plain(&receiver));

    sending.span("first");
    receiver.calls(2);
    assert!(sending.finish());

    // It came back once, and gave up when no time was named.
    assert_eq!(receiver.calls(2).len(), 2);
    assert_eq!(
        (sending.figures.exported.get(), sending.figures.failed.get()),
        (0, 1)
    );
}

#[test]
fn a_call_says_how_long_it_waits() {
    let receiver = Receiver::start();
    let sending = Sending::start(&plain(&receiver));

    sending.span("first");
    assert!(sending.finish());

    assert_eq!(receiver.calls(1)[0].headers["grpc-timeout"], "10000m");
}

/// A new token is for Google alone: elsewhere the same headers would be refused again.
#[test]
fn a_receiver_that_does_not_believe_the_headers_is_not_asked_again() {
    let receiver = Receiver::refusing(vec![
        Status::unauthenticated("who?"),
        Status::permission_denied("no"),
    ]);
    let sending = Sending::start(&plain(&receiver));

    for name in ["first", "second"] {
        sending.span(name);
        assert!(sending.figures.failed.get() < 2);
        receiver.calls(if name == "first" { 1 } else { 2 });
    }
    assert!(sending.finish());

    assert_eq!(receiver.calls(2).len(), 2);
    assert_eq!(
        (sending.figures.exported.get(), sending.figures.failed.get()),
        (0, 2)
    );
}

/// They were in no counter.
#[test]
fn spans_that_an_end_without_waiting_leaves_behind_have_failed() {
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", frozen.local_addr().unwrap());
    let sending = Sending::start(&config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]));
    let figures = Arc::clone(&sending.figures);
    sending.span("on its way");
    let (accepted, _) = frozen.accept().unwrap();
    sending.span("in the queue");

    drop(sending.runtime);

    assert_eq!((figures.exported.get(), figures.failed.get()), (0, 2));
    drop(accepted);
}

/// Decrypts, and passes on to `receiver`. Answers the URL to send to.
fn encrypted(receiver: &Receiver) -> String {
    let file = |name: &str| format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let certificates = CertificateDer::pem_file_iter(file("server.pem"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(tls)), receiver.address);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut plain = tokio::net::TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
            }
        });
    });
    format!("https://localhost:{port}")
}

#[test]
fn an_encrypted_receiver_is_trusted_only_with_its_authority() {
    let receiver = Receiver::start();
    let url = encrypted(&receiver);
    let authority = format!("{}/tests/it/tls/authority.pem", env!("CARGO_MANIFEST_DIR"));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let trusting = Sending::start(&config(&[
        endpoint,
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority),
    ]));
    let doubting = Sending::start(&config(&[endpoint]));

    for sending in [&trusting, &doubting] {
        sending.span("secret");
        assert!(sending.finish());
    }

    assert_eq!(
        (trusting.figures.exported.get(), trusting.figures.failed.get()),
        (1, 0)
    );
    assert_eq!(
        (doubting.figures.exported.get(), doubting.figures.failed.get()),
        (0, 1)
    );
    assert_eq!(receiver.calls(1).len(), 1);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let missing = config(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/to/be/found")]);
    let headers = config(&[("OTEL_EXPORTER_OTLP_HEADERS", "no header: SENTINEL")]);

    assert_eq!(
        traces::faults(&missing),
        ["OTEL_EXPORTER_OTLP_CERTIFICATE names a file that cannot be read"]
    );
    let faults = traces::faults(&headers).join("");
    assert!(
        faults.starts_with("OTEL_EXPORTER_OTLP_HEADERS") && !faults.contains("SENTINEL"),
        "{faults}"
    );
}

#[test]
fn a_queue_that_is_full_drops_and_counts() {
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", frozen.local_addr().unwrap());
    let config = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let (tracer, spans) = traces::build(&config).unwrap();
    let metadata = Arc::new(Metadata::default());
    let (exporter, _finish) = Exporter::new(&config, metadata, spans, "1").unwrap();

    for _ in 0..2050 {
        tracer.start("x").end();
    }

    assert_eq!(exporter.figures().dropped.get(), 2);
}
