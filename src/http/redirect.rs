//! `GET /{slug}`: what the service is for.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use super::problem::Problem;
use super::{Services, visitor};
use crate::domain::{Redirect, Slug};
use crate::service::{Visit, is_program};

/// How long a browser may keep a permanent redirect when its link does not say, in seconds.
const PERMANENT_CACHE_SECONDS: u32 = 300;

/// Sends the visitor on.
pub(super) async fn redirect(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Ok(slug) = request.match_info().query("slug").parse::<Slug>() else {
        return Err(no_such_slug());
    };
    let is_click = request.method() == Method::GET;
    let seen = visitor::seen(&request, &services);
    let counts = || is_click && !is_program(&seen);
    match services.resolver.visit(&slug, counts).await {
        Ok(Visit::Follow(redirect)) => {
            if is_click {
                services.clicks.record(&slug, redirect.limited, &seen);
                services.clicks.keep_up().await;
            }
            Ok(follow(&redirect, request.query_string(), &services))
        }
        Ok(Visit::Unknown) => Err(no_such_slug()),
        Ok(Visit::Gone(reason)) => Err(Problem::gone(reason).for_visitor()),
        Err(err) => Err(Problem::from(err).for_visitor()),
    }
}

fn follow(redirect: &Redirect, query: &str, services: &Services) -> HttpResponse {
    let Ok(location) = HeaderValue::try_from(redirect.location(query)) else {
        return HttpResponse::new(StatusCode::NOT_FOUND);
    };
    let status = StatusCode::from_u16(redirect.status.code()).unwrap_or(StatusCode::FOUND);
    let mut response = HttpResponse::build(status);
    response.insert_header((LOCATION, location));
    if redirect.status.is_permanent() {
        let seconds = redirect.cache_seconds.unwrap_or(PERMANENT_CACHE_SECONDS);
        response.insert_header((CACHE_CONTROL, format!("public, max-age={seconds}")));
    } else {
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("private, max-age=0")));
    }
    if let Some(policy) = &services.config.referrer_policy {
        response.insert_header((REFERRER_POLICY, policy.as_str()));
    }
    response.finish()
}

/// Any path that nothing answers looks the same as an unknown slug.
pub(super) async fn no_such_page() -> Result<HttpResponse, Problem> {
    Err(no_such_slug())
}

fn no_such_slug() -> Problem {
    Problem::not_found().for_visitor()
}
