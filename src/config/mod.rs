//! Floor 1: the settings, read once at start from the environment, checked, and handed out by section.
//!
//! Every fault is found in one reading, and named by its variable, never with its value.

mod access;
mod cache;
mod env;
mod http;
mod limits;
mod links;
mod logs;
mod secret;
mod store;

pub use access::Access;
pub use cache::{Cache, Redis};
pub use env::{Effective, Env, Faults};
pub use http::{BaseUrl, Http};
pub use limits::Limits;
pub use links::Links;
pub use logs::{LogFormat, Logs};
pub use secrecy::{ExposeSecret, SecretString};
pub use store::{Postgres, Store, StoreKind};

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
    /// Who may do what.
    pub access: Access,
    /// How often somebody may ask.
    pub limits: Limits,
    /// What is logged, and how.
    pub logs: Logs,
}

/// Where the service runs, as far as defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// `DATABASE_URL` is unset: an SQLite file, loopback only, no key needed.
    pub trial: bool,
    /// `K_SERVICE` is set: Cloud Run's container contract.
    pub cloud_run: bool,
}

impl Config {
    /// Reads every setting from `env`. Faults are collected there; see [`Env::finish`].
    pub fn read(env: &mut Env) -> Self {
        let place = Place {
            trial: !env.is_set("DATABASE_URL"),
            cloud_run: env.is_set("K_SERVICE"),
        };
        let http = Http::read(env, place);
        Self {
            store: Store::read(env, place),
            cache: Cache::read(env),
            links: Links::read(env, place, &http),
            access: Access::read(env, place),
            limits: Limits::read(env),
            logs: Logs::read(env),
            http,
        }
    }
}
