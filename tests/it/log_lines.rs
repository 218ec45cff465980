//! How a line of the log looks.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use curtail::config::CloudPlace;
use curtail::domain::ManualClock;
use curtail::telemetry::gcp::Metadata;
use curtail::telemetry::log::{Form, Lines};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(form: Form, work: impl FnOnce()) -> String {
    let paper = Paper::default();
    let place = CloudPlace {
        project: Some("my-project".to_owned()),
        service: Some("links".to_owned()),
        revision: Some("links-00001".to_owned()),
        ..CloudPlace::default()
    };
    let output = paper.clone();
    let lines = Lines::new(
        form,
        move || output.clone(),
        ManualClock::default(),
        Arc::new(Metadata::new(&place)),
    );
    let registry = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(registry, work);
    let bytes = paper.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("lines are text")
}

fn line(work: impl FnOnce()) -> Value {
    serde_json::from_str(&written(Form::Json, work)).expect("a line is JSON")
}

#[test]
fn a_line_has_the_special_fields_of_cloud_logging() {
    let line = line(|| {
        let span = tracing::info_span!(
            "request",
            request_id = "abc",
            trace_id = "0af7651916cd43dd8448eb211c80319c",
            span_id = "b7ad6b7169203331",
            trace_sampled = true,
            otel.name = "not for the log",
        );
        span.in_scope(|| tracing::warn!({ httpRequest.status = 503, seconds = 3 }, "slow"));
    });

    assert_eq!(line["severity"], "WARNING");
    assert_eq!(line["message"], "slow");
    assert_eq!(
        line["logging.googleapis.com/trace"],
        "projects/my-project/traces/0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(line["logging.googleapis.com/spanId"], "b7ad6b7169203331");
    assert_eq!(line["logging.googleapis.com/trace_sampled"], true);
    assert_eq!(line["logging.googleapis.com/labels"]["request_id"], "abc");
    let place = &line["logging.googleapis.com/sourceLocation"];
    assert!(
        place["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("log_lines.rs")),
        "{line}"
    );
    assert!(
        place["line"].is_string() && place["function"].is_string(),
        "{line}"
    );
    assert_eq!(line["httpRequest"], json!({ "status": 503 }));
    assert_eq!(
        (&line["request_id"], &line["seconds"]),
        (&json!("abc"), &json!(3))
    );
    for absent in ["@type", "trace_id", "span_id", "otel.name"] {
        assert!(line.get(absent).is_none(), "{absent}: {line}");
    }
}

#[test]
fn no_name_stands_twice() {
    let text = written(Form::Json, || {
        let span = tracing::info_span!("outer", slug = "outer", request_id = "abc");
        let inner = tracing::info_span!(parent: &span, "inner", slug = "inner", severity = "made up");
        inner.in_scope(|| {
            tracing::info!(
                slug = "own",
                httpRequest = "made up",
                httpRequest.status = 200,
                "done"
            )
        });
    });

    for (name, value) in [
        ("slug", json!("own")),
        ("severity", json!("INFO")),
        ("httpRequest", json!({ "status": 200 })),
    ] {
        assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("a line is JSON");
        assert_eq!(line[name], value, "{text}");
    }
}

#[test]
fn an_error_has_the_form_that_is_reported() {
    let line = line(|| tracing::error!("broken"));

    assert!(
        line["@type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("ReportedErrorEvent"))
    );
    assert_eq!(
        line["serviceContext"],
        json!({ "service": "links", "version": "links-00001" })
    );
    let place = &line["context"]["reportLocation"];
    assert!(
        place["filePath"].is_string() && place["lineNumber"].is_u64() && place["functionName"].is_string()
    );
}

#[test]
fn a_panic_is_an_error_at_its_own_place() {
    let line = line(|| {
        tracing::error!(
            code.file.path = "src/x.rs",
            code.line.number = 7_u32,
            "panicked: no"
        );
    });

    assert_eq!(
        line["context"]["reportLocation"],
        json!({ "filePath": "src/x.rs", "lineNumber": 7, "functionName": module_path!() })
    );
    assert!(line.get("code.file.path").is_none(), "{line}");
}

#[test]
fn nothing_ends_a_line_or_moves_a_cursor() {
    let nasty = "a\r\nb\u{1b}[2Jc\u{85}d\u{2028}e\u{7f}";
    let work = || tracing::info!(field = nasty, "{nasty}");

    for form in [Form::Json, Form::Text { colours: false }] {
        let text = written(form, work);
        let (line, rest) = text.split_at(text.len() - 1);
        assert_eq!(rest, "\n");
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{line:?}"
        );
    }
    assert_eq!(line(work)["message"], nasty, "a parser gets the same text back");
}
