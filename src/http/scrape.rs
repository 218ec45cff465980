//! `GET /metrics`, on a port of its own.

use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};

use crate::telemetry::exposition::{self, About};
use crate::telemetry::metrics::Metrics;

/// What is shown.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// What runs here.
    pub about: About,
}

/// The one route of the port for figures. It asks for no key: the port is not for the world.
pub fn scrape(app: &mut web::ServiceConfig) {
    app.service(
        web::resource("/metrics")
            .route(web::get().to(show))
            .route(web::head().to(show)),
    );
}

async fn show(scrape: web::Data<Scrape>) -> HttpResponse {
    let text = exposition::page(&scrape.metrics, &scrape.about);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, exposition::CONTENT_TYPE))
        .body(text)
}
