//! `GET /metrics`, on a port of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};

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

impl Scrape {
    /// Binds a port, or one that the system chooses for 0, and answers it with what to await.
    pub fn listen(self, address: IpAddr, port: u16) -> io::Result<(u16, Server)> {
        let shown = web::Data::new(self);
        let server = HttpServer::new(move || App::new().app_data(shown.clone()).configure(routes))
            .workers(1)
            .disable_signals()
            .bind((address, port))?;
        let port = server.addrs().first().map_or(port, SocketAddr::port);
        Ok((port, server.run()))
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
