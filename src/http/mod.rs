//! Floor 4: HTTP. Extract, call one service, answer.

mod accept;
mod address;
mod admission;
mod api;
mod auth;
mod body;
mod caching;
mod compress;
mod conditions;
mod connection;
mod cors;
mod document;
mod frame;
mod openapi;
mod origin;
mod pages;
mod panics;
mod payload;
mod probes;
mod problem;
mod query;
mod rate;
mod redirect;
mod routes;
mod scrape;
mod security;
mod trace;
mod ui;
mod visitor;
mod yourls;

use std::io;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, web};

use crate::config;
use crate::domain::Clock;
use crate::lifecycle::Lifecycle;
use crate::service::{AuditTrail, Clicks, Health, Keys, Limits, Links, Rendering, Resolver, Sessions, Stats};
use crate::telemetry::log::LogLevel;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Sampler;

pub use admission::Admission;
pub use connection::Serving;
pub use document::Documents;
pub use openapi::{made_anew as openapi_made_anew, text_of_document as openapi};
pub use scrape::Scrape;

/// What the handlers call.
#[derive(Debug)]
pub struct Services {
    /// Settings of this floor.
    pub config: config::Http,
    /// Whom to tell of a fault.
    pub security: config::Security,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Links.
    pub links: Links,
    /// Redirects.
    pub resolver: Resolver,
    /// Clicks.
    pub clicks: Clicks,
    /// Value of `Strict-Transport-Security`; `None` sends none.
    pub hsts: Option<HeaderValue>,
    /// The header in which a load balancer names the visitor's country.
    pub country_header: Option<HeaderName>,
    /// Statistics.
    pub stats: Stats,
    /// Keys.
    pub keys: Keys,
    /// Recorded changes.
    pub audit: AuditTrail,
    /// Who is signed in.
    pub sessions: Sessions,
    /// How often somebody may ask.
    pub limits: Limits,
    /// How many requests of the API, and exports, may be at work at once.
    pub admission: Admission,
    /// Draws pictures.
    pub rendering: Rendering,
    /// Documents that were rendered.
    pub documents: Documents,
    /// Probes.
    pub health: Arc<Health>,
    /// Tells whether the service is stopping.
    pub lifecycle: Lifecycle,
    /// Figures of answers.
    pub metrics: Arc<Metrics>,
    /// What runs here.
    pub build: Build,
    /// Decides which requests have a trace.
    pub sampler: Sampler,
    /// Which lines are logged.
    pub log: LogLevel,
}

/// What runs here.
#[derive(Debug, Clone, Copy, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Version)]
pub struct Build {
    /// The version, as in Cargo.toml.
    pub version: &'static str,
    /// The commit it was built from.
    pub git_commit: &'static str,
    /// When it was built, RFC 3339.
    pub build_time: &'static str,
    /// The store in force: `postgres` or `sqlite`.
    pub store: &'static str,
    /// The caches in force: `memory`, `redis` or `redis-cluster`, one of these behind the first (`memory+redis`), or `none`.
    pub cache: &'static str,
}

/// The value of `Strict-Transport-Security` (RFC 6797) for so many seconds; none for 0.
#[must_use]
pub fn hsts(seconds: u32) -> Option<HeaderValue> {
    (seconds > 0)
        .then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok())
        .flatten()
}

/// Listens and answers. The result is the port and what to await.
pub fn listen(serving: Serving, services: web::Data<Services>) -> io::Result<(u16, Server)> {
    connection::serve(serving, move || routes::app(services.clone()))
}

/// What the app that answers `request` is built with.
fn services(request: &HttpRequest) -> &web::Data<Services> {
    request
        .app_data::<web::Data<Services>>()
        .expect("the app is built with its services")
}
