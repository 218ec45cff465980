//! Health and version, for orchestrators and operators.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, Responder, web};
use serde::Serialize;

use super::Services;
use crate::service::{Check, Readiness};

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// `GET /health/live`: the process runs. It asks nothing else, so that a dead database restarts nobody.
pub(super) async fn live() -> impl Responder {
    answer(StatusCode::OK, &Status { status: "ok" })
}

/// `GET /health/startup`: the store has answered once, with a schema that this build knows.
pub(super) async fn startup(services: web::Data<Services>) -> impl Responder {
    match services.health.has_started().await {
        Ok(true) => answer(StatusCode::OK, &Status { status: "ok" }),
        Ok(false) | Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, &Status { status: "starting" }),
    }
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    database: &'static str,
    cache: &'static str,
}

/// `GET /health/ready`: the service can do its work now.
pub(super) async fn ready(services: web::Data<Services>) -> impl Responder {
    let readiness = services.health.readiness().await;
    let (code, status) = match readiness {
        Readiness { draining: true, .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Readiness {
            database: Check::Unavailable,
            ..
        } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Readiness {
            cache: Check::Unavailable,
            ..
        } => (StatusCode::OK, "degraded"),
        Readiness { .. } => (StatusCode::OK, "ok"),
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
