//! One span per API request. Redirects have none: building it costs more than the redirect.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpMessage};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use super::frame::RequestId;

/// Names the request by id, method and route; never by address, key or target.
pub(super) struct ApiSpan;

impl RootSpanBuilder for ApiSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let extensions = request.extensions();
        tracing::info_span!(
            "http.request",
            request_id = extensions.get::<RequestId>().map(RequestId::as_str),
            http.request.method = request.method().as_str(),
            http.route = request.match_pattern(),
            http.response.status_code = tracing::field::Empty,
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("http.response.status_code", status.as_u16());
        let _entered = span.enter();
        tracing::info!("answered {}", status.as_u16());
    }
}
