//! Health and version, for orchestrators and operators.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::openapi::Operation;
use super::{Build, Services};
use crate::service::Check;

/// Whether it is so.
#[derive(Serialize, ToSchema)]
struct Status {
    status: &'static str,
}

/// `GET /health/live`: the process runs. It asks nothing else, so that a dead database restarts nobody.
pub(super) async fn live() -> impl Responder {
    answer(StatusCode::OK, &Status { status: "ok" })
}

/// `GET /health/startup`: the store has answered once, with a schema that this build knows; or it does not answer, and the
/// shared cache does.
pub(super) async fn startup(services: web::Data<Services>) -> impl Responder {
    if services.health.startup().await {
        answer(StatusCode::OK, &Status { status: "ok" })
    } else {
        answer(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "starting" })
    }
}

/// Whether the service can do its work now.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// `ok`; `degraded` without its database or its cache; or `unavailable`.
    status: &'static str,
    checks: Checks,
}

/// What it stands on: `ok`, `unavailable`, or `disabled`.
#[derive(Serialize, ToSchema)]
struct Checks {
    database: &'static str,
    cache: &'static str,
}

/// `GET /health/ready`: the service has started and does not stop. A database that is away is no reason to send visitors
/// elsewhere, since it is away for every instance; with `?strict` it is one, for a load balancer with another region.
pub(super) async fn ready(request: HttpRequest, services: web::Data<Services>) -> impl Responder {
    let readiness = services.health.readiness().await;
    let strict = is_strict(request.query_string()) && readiness.database == Check::Unavailable;
    let (code, status) = match readiness.can_serve() && !strict {
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        true if readiness.is_degraded() => (StatusCode::OK, "degraded"),
        true => (StatusCode::OK, "ok"),
    };
    answer(
        code,
        &Ready {
            status,
            checks: Checks {
                database: word(readiness.database),
                cache: word(readiness.cache),
            },
        },
    )
}

/// Whether the query has `strict`, alone or with a value other than `false`.
fn is_strict(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "strict" && value != "false")
}

fn word(check: Check) -> &'static str {
    match check {
        Check::Ok => "ok",
        Check::Unavailable => "unavailable",
        Check::Disabled => "disabled",
    }
}

/// `GET /version`
pub(super) async fn version(services: web::Data<Services>) -> impl Responder {
    answer(StatusCode::OK, &services.build)
}

fn answer(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

pub(super) fn described() -> [Operation; 4] {
    const OK: &str = r#"{"status": "ok"}"#;
    const READY: &str = r#"{"status": "ok", "checks": {"database": "ok", "cache": "disabled"}}"#;
    const UNREADY: &str =
        r#"{"status": "unavailable", "checks": {"database": "unavailable", "cache": "ok"}}"#;
    const VERSION: &str = r#"{
        "version": "0.1.0", "git_commit": "58441e5f21ac", "build_time": "2026-11-21T02:00:00Z", "store": "postgres",
        "cache": "memory+redis"
    }"#;
    let probe = |path, id, summary| Operation::new("GET", path, id, summary).group("operations");
    [
        probe("/health/live", "live", "Whether the process runs").answers::<Status>(
            StatusCode::OK,
            "It does",
            OK,
        ),
        probe("/health/startup", "startup", "Whether the service has started")
            .answers::<Status>(StatusCode::OK, "It has", OK)
            .answers::<Status>(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not yet",
                r#"{"status": "starting"}"#,
            ),
        probe("/health/ready", "ready", "Whether requests should be sent here")
            .in_query(
                "strict",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(
                        "Alone or with any value but `false`: 503 while the database is away, too",
                    ))
                    .build(),
            )
            .answers::<Ready>(
                StatusCode::OK,
                "They should, perhaps for the links in its caches alone",
                READY,
            )
            .answers::<Ready>(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not started, or about to stop; with `strict` without its database, too",
                UNREADY,
            ),
        probe("/version", "version", "What runs here").answers::<Build>(
            StatusCode::OK,
            "The version",
            VERSION,
        ),
    ]
}
