//! `GET` and `PUT /api/v1/log-level`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::link::answer;
use crate::domain::{Fault, FaultCode};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::Scope;

/// The longest that a level may hold before it falls back: a day.
const LONGEST_SECONDS: i64 = 86_400;

/// The most bytes of a level.
const LONGEST_LEVEL: usize = 1024;

/// Which lines an instance writes.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLevel)]
struct Body {
    /// What is in force.
    level: String,
    /// What the settings say.
    default: String,
    /// When that is in force again.
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
}

/// Another level.
#[derive(ToSchema)]
#[schema(as = NewLogLevel)]
#[expect(dead_code, reason = "for the document: `read` reads the fields one by one")]
struct NewBody {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or levels of modules.
    #[schema(max_length = 1024, examples("curtail=debug,info"))]
    level: String,
    /// How long, in seconds. Without it until the process ends.
    #[schema(minimum = 1, maximum = 86400)]
    seconds: Option<i64>,
}

/// Shows which lines this instance writes.
pub(in crate::http) async fn show(
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    Ok(shown(&services))
}

/// Changes which lines this instance writes.
pub(in crate::http) async fn change(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    let body = body::json(&request, payload, body::LIMIT).await?;
    let (level, seconds) = read(body).map_err(Problem::invalid_log_level)?;
    let now = services.clock.now();
    let expires_at = seconds.map(|seconds| now + SignedDuration::from_secs(seconds));
    services.log.set(&level, expires_at).map_err(|err| {
        let detail = format!("must be {err}");
        Problem::invalid_log_level(vec![Fault::new("/level", FaultCode::OutOfRange, detail)])
    })?;
    tracing::warn!(
        log.level = level,
        log.seconds = seconds,
        "the log level was changed"
    );
    if let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        let watched = services.clone();
        services.lifecycle.spawn(|stop| async move {
            let wait = tokio::time::sleep(std::time::Duration::from_secs(seconds));
            if stop.run_until_cancelled(wait).await.is_some() {
                // Whoever looks takes back what has expired.
                let _ = watched.log.get(watched.clock.now());
            }
        });
    }
    Ok(shown(&services))
}

fn shown(services: &Services) -> HttpResponse {
    let level = services.log.get(services.clock.now());
    answer(StatusCode::OK).json(Body {
        level: level.directives,
        default: level.default,
        expires_at: level.expires_at,
    })
}

fn read(body: Value) -> Result<(String, Option<i64>), Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    if !fields.has("level") {
        fields.fault("level", FaultCode::Missing, "this is what is to be changed");
    }
    let (level, seconds) = (fields.text("level"), fields.integer("seconds").flatten());
    let level = fields.required("level", level).unwrap_or_default();
    if level.len() > LONGEST_LEVEL {
        fields.fault("level", FaultCode::TooLong, "has at most 1024 bytes");
    }
    if seconds.is_some_and(|seconds| !(1..=LONGEST_SECONDS).contains(&seconds)) {
        fields.fault("seconds", FaultCode::OutOfRange, "must be from 1 to 86400");
    }
    fields.finish()?;
    Ok((level, seconds))
}

const LEVEL: &str =
    r#"{"level": "curtail=debug,info", "default": "info", "expires_at": "2026-11-21T02:10:00Z"}"#;

pub(in crate::http) fn show_described() -> Operation {
    const SUMMARY: &str = "Show which lines this instance logs";
    Operation::of_api("GET", "/log-level", "getLogLevel", SUMMARY, Scope::KeysAdmin)
        .group("operations")
        .answers::<Body>(StatusCode::OK, "The level", LEVEL)
}

pub(in crate::http) fn change_described() -> Operation {
    const SUMMARY: &str = "Change which lines this instance logs, for a while";
    const NEW: &str = r#"{"level": "curtail=debug,info", "seconds": 600}"#;
    Operation::of_api("PUT", "/log-level", "changeLogLevel", SUMMARY, Scope::KeysAdmin)
        .group("operations")
        .takes::<NewBody>("application/json", NEW)
        .answers::<Body>(StatusCode::OK, "The level", LEVEL)
        .problems(&["invalid_log_level"])
}
