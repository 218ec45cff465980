//! `GET /metrics`, on a port of its own.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, web};

use super::connection::{Serving, serve};
use crate::telemetry::exposition::{self, About};
use crate::telemetry::metrics::Metrics;

/// How long an idle connection is kept: longer than most intervals of a scraper.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Seconds for a scrape in flight when the metrics endpoint stops.
const FINISH_SECONDS: u64 = 5;

/// What is shown.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// What runs here.
    pub about: About,
}

impl Scrape {
    /// Binds a port, or one that the system chooses for 0, and answers it with what to await.
    pub fn listen(self, address: IpAddr, port: u16) -> io::Result<(u16, Server)> {
        let shown = web::Data::new(self);
        let serving = Serving {
            address,
            port,
            keep_alive: KEEP_ALIVE,
            finish_seconds: FINISH_SECONDS,
            workers: Some(1),
        };
        serve(serving, move || {
            App::new().app_data(shown.clone()).configure(routes)
        })
    }
}

/// The one route of the port for figures. It asks for no key: the port is not for the world.
fn routes(app: &mut web::ServiceConfig) {
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
