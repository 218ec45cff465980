//! Links in PostgreSQL.

mod aside;
mod batch;
mod changes;
mod chores;
mod class;
mod clicks;
mod connect;
mod connections;
mod conninfo;
mod dial;
mod document;
mod failure;
mod gate;
mod grants;
mod inserts;
mod keys;
mod lease;
mod links;
mod list;
mod migrate;
mod outcome;
mod partitions;
mod patience;
mod pool;
mod pools;
mod porting;
mod pulse;
mod ranking;
mod rows;
mod schema;
mod selection;
mod sessions;
mod settings;
mod tally;
mod tls;
mod trust;
mod upkeep;
mod values;
mod work;

pub use settings::{Purpose, Settings};

pub(super) use links::PostgresStore;
pub(super) use migrate::migrate;
pub(super) use settings::faults;
