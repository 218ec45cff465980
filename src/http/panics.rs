//! A panic costs one request.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError};

use super::frame::{REQUEST_ID, RequestId};
use super::problem::Problem;
use super::{services, yourls};
use crate::lifecycle::{Lifecycle, PanicOf};
use crate::service;

/// Wraps a resource: a handler that panics answers as any failure does, with its route and its span.
pub(super) async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let kept = request.request().clone();
    let answering = async { next.call(request).await };
    let lifecycle = &services(&kept).lifecycle;
    match lifecycle.catch(PanicOf::Request, answering).await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => {
            let problem = problem(&kept);
            Ok(ServiceResponse::from_err(problem, kept))
        }
    }
}

/// What a request that panicked is answered.
pub(super) fn problem(request: &HttpRequest) -> Problem {
    let problem = Problem::from(service::Error::Panicked);
    let path = request.path();
    if path.starts_with("/api/") || path == yourls::PATH {
        problem
    } else {
        problem.for_visitor()
    }
}

/// Awaits what stands around the resources. Of a request that panics there, nothing is left but its id.
pub(super) async fn outermost<T>(
    lifecycle: &Lifecycle,
    id: RequestId,
    answering: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    lifecycle
        .catch(PanicOf::Request, answering)
        .await
        .unwrap_or_else(|_| Err(Outermost(id).into()))
}

#[derive(Debug, thiserror::Error)]
#[error("a panic outside of any route")]
struct Outermost(RequestId);

impl ResponseError for Outermost {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        let Self(id) = self;
        tracing::error!(request_id = id.as_str(), "request failed: {self}");
        let mut response = Problem::from(service::Error::Panicked).json(id.as_str());
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}
