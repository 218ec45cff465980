//! Floor 1: the settings, read once at start from the environment, checked, and handed out by section.
//!
//! Every fault is found in one reading, and named by its variable, never with its value.

mod access;
mod blocked;
mod cache;
mod clicks;
mod cors;
mod env;
mod http;
mod limits;
mod links;
mod logs;
mod names;
mod secret;
mod security;
mod store;
mod traces;

use std::net::IpAddr;

pub use access::{Access, MIN_KEY_CHARS};
pub use blocked::BlockedDomains;
pub use cache::{Cache, Redis, TlsVerify};
pub use clicks::Clicks;
pub use cors::CorsOrigins;
pub use env::{Effective, Env, Faults};
pub use http::{BaseUrl, Http};
pub use limits::Limits;
pub use links::Links;
pub use logs::{LogFormat, Logs};
pub use secrecy::{ExposeSecret, SecretString};
pub use security::Security;
pub use store::{Postgres, ServiceRole, Store, StoreKind};
pub use traces::{CloudPlace, Sampler, Traces, pairs};

/// The directory of a service without `DATABASE_URL`, relative to the working directory. The image has a volume there.
const DATA: &str = "data";

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listening, addresses and proxies.
    pub http: Http,
    /// The database.
    pub store: Store,
    /// The caches.
    pub cache: Cache,
    /// What links may be.
    pub links: Links,
    /// Clicks and statistics.
    pub clicks: Clicks,
    /// Who may do what.
    pub access: Access,
    /// How often somebody may ask.
    pub limits: Limits,
    /// Whom to tell of a fault.
    pub security: Security,
    /// What is logged, and how.
    pub logs: Logs,
    /// Where traces go, and how many.
    pub traces: Traces,
}

/// Where the service runs, as far as defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// `DATABASE_URL` is unset, and this is not Cloud Run: an SQLite file in `DATA`. Only loopback is listened on, and no key
    /// is needed.
    pub trial: bool,
    /// The same, but `LISTEN_ADDRESS` lets others in: everything but redirects needs the admin key, which is generated if
    /// `ADMIN_API_KEY` is unset.
    pub open_trial: bool,
    /// `K_SERVICE` or `CLOUD_RUN_JOB` is set: Cloud Run's container contract.
    pub cloud_run: bool,
}

impl Config {
    /// Reads every setting from `env`. Faults are collected there; see [`Env::finish`].
    pub fn read(env: &mut Env) -> Self {
        // The one is set for a service, the other for a job.
        let cloud_run = env.is_set("K_SERVICE") || env.is_set("CLOUD_RUN_JOB");
        let without_database = !env.is_set("DATABASE_URL") && !cloud_run;
        let lets_others_in = env
            .foreign("LISTEN_ADDRESS")
            .and_then(|text| text.parse::<IpAddr>().ok())
            .is_some_and(|address| !address.is_loopback());
        let place = Place {
            trial: without_database && !lets_others_in,
            open_trial: without_database && lets_others_in,
            cloud_run,
        };
        let http = Http::read(env, place);
        Self {
            store: Store::read(env, place),
            cache: Cache::read(env),
            links: Links::read(env, place, &http),
            clicks: Clicks::read(env),
            access: Access::read(env, place),
            limits: Limits::read(env),
            security: Security::read(env),
            logs: Logs::read(env),
            traces: Traces::read(env, cloud_run),
            http,
        }
    }
}
