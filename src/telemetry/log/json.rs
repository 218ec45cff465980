//! A line as one JSON object with the field names of Cloud Logging.
//!
//! <https://cloud.google.com/logging/docs/structured-logging> names the special fields, and
//! <https://cloud.google.com/error-reporting/docs/formatting-error-messages> what makes an error a reported one.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use tracing::Level;

use super::lines::Line;
use crate::telemetry::gcp::Metadata;

/// The form of an error that Error Reporting picks up without a stack trace.
const REPORTED: &str = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// What the fields of the request begin with.
const REQUEST: &str = "httpRequest.";

/// A line, to be written as JSON.
pub(super) struct Json<'a> {
    pub(super) line: &'a Line,
    pub(super) metadata: &'a Metadata,
}

/// An object in which no name stands twice: the first stays.
struct Object<M> {
    map: M,
    names: Vec<&'static str>,
}

impl<M: SerializeMap> Object<M> {
    fn put(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), M::Error> {
        if self.names.contains(&name) {
            return Ok(());
        }
        self.names.push(name);
        self.map.serialize_entry(name, value)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { line, metadata } = self;
        let mut all = Object {
            map: serializer.serialize_map(None)?,
            names: Vec::with_capacity(32),
        };
        all.put("severity", &severity(line.level))?;
        all.put("time", &line.time)?;
        all.put("message", &line.message)?;
        // What a line is about, where it says so: `curtail::audit`.
        if line.target != line.module {
            all.put("target", &line.target)?;
        }
        all.put("logging.googleapis.com/labels", &Labels(line))?;
        if let Some(trace) = &line.trace {
            if let Some(project) = metadata.known_project() {
                let name = format!("projects/{project}/traces/{}", trace.trace_id);
                all.put("logging.googleapis.com/trace", &name)?;
            } else {
                all.put("trace_id", &trace.trace_id)?;
            }
            if let Some(span) = &trace.span_id {
                all.put("logging.googleapis.com/spanId", span)?;
            }
            all.put("logging.googleapis.com/trace_sampled", &trace.sampled)?;
        }
        if let Some((file, number)) = &line.place {
            if line.level == Level::ERROR {
                let (service, version) = metadata.service();
                let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
                let report = json!({ "filePath": file, "lineNumber": number, "functionName": line.module });
                all.put("@type", &REPORTED)?;
                all.put(
                    "serviceContext",
                    &json!({ "service": service, "version": version }),
                )?;
                all.put("context", &json!({ "reportLocation": report }))?;
            }
            all.put(
                "logging.googleapis.com/sourceLocation",
                &Place(line, file, *number),
            )?;
        }
        let request = Request(line);
        if request.members().next().is_some() {
            all.put("httpRequest", &request)?;
        }
        for (name, value) in line.fields.iter() {
            if !name.starts_with(REQUEST) {
                all.put(name, value)?;
            }
        }
        all.map.end()
    }
}

struct Labels<'a>(&'a Line);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("module", self.0.module)?;
        if let Some(id) = self.0.fields.get("request_id") {
            map.serialize_entry("request_id", id)?;
        }
        map.end()
    }
}

struct Place<'a>(&'a Line, &'a str, u64);

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", self.1)?;
        map.serialize_entry("line", &self.2.to_string())?;
        map.serialize_entry("function", self.0.module)?;
        map.end()
    }
}

/// The fields of the request, as one object.
struct Request<'a>(&'a Line);

impl<'a> Request<'a> {
    fn members(&self) -> impl Iterator<Item = (&'static str, &'a Value)> + use<'a> {
        let fields = self.0.fields.iter();
        fields.filter_map(|(name, value)| Some((name.strip_prefix(REQUEST)?, value)))
    }
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members())
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
