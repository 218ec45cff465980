//! Links in PostgreSQL.

mod batch;
mod connect;
mod conninfo;
mod failure;
mod keys;
mod links;
mod list;
mod migrate;
mod pool;
mod settings;
mod tls;

pub use settings::{Purpose, Settings};

pub(super) use links::PostgresStore;
pub(super) use migrate::migrate;
pub(super) use settings::faults;
