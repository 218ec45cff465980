//! Links in PostgreSQL.

mod aside;
mod batch;
mod changes;
mod chores;
mod clicks;
mod connect;
mod conninfo;
mod document;
mod failure;
mod inserts;
mod keys;
mod links;
mod list;
mod migrate;
mod patience;
mod pool;
mod porting;
mod pulse;
mod ranking;
mod selection;
mod settings;
mod tally;
mod tls;
mod values;
mod work;

pub use settings::{Purpose, Settings};

pub(super) use links::PostgresStore;
pub(super) use migrate::migrate;
pub(super) use settings::faults;
