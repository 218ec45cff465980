//! The connections of a store, by class.

use std::sync::Arc;

use super::class::{Class, divide};
use super::connect::Connector;
use super::connections::Connections;
use super::dial::Dialer;
use super::pool::{Pool, Terms};
use super::pulse::Pulse;
use super::schema::Schema;
use super::settings::{Purpose, Settings};
use crate::store::StoreError;
use crate::telemetry::metrics::Metrics;

/// A pool for each class.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Vec<(Class, Pool)>,
    schema: Arc<Schema>,
}

impl Pools {
    /// Pools that connect when they are first used. Call it within the runtime that shall drive the connections.
    pub(super) fn open(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, StoreError> {
        let (pulse, dialer) = (Arc::new(Pulse::new()), Arc::new(Dialer::new()));
        let schema = Arc::<Schema>::default();
        let mut pools = Vec::new();
        for group in divide(settings.pool_size) {
            let first = group.shares[0].class;
            let connections = Connections::new(
                settings.config(Purpose::of(first)),
                Connector::new(settings.tls.clone()),
                group.size,
                group.shares.iter().map(|share| share.most),
                Arc::clone(&dialer),
                metrics,
            )?;
            connections.watch(first.name(), group.size);
            for (lane, share) in group.shares.iter().enumerate() {
                let terms = Terms {
                    lane,
                    class: share.class,
                    most: share.most,
                    begin: settings.begin(share.limits),
                    wrapped: settings.pooler || share.limits != first.time_limits(),
                    unnamed: settings.pooler,
                };
                pools.push((
                    share.class,
                    Pool::new(&connections, terms, &pulse, &schema, metrics),
                ));
            }
        }
        Ok(Self { pools, schema })
    }

    /// The pool of a class.
    pub(super) fn of(&self, class: Class) -> &Pool {
        let (_, pool) = self
            .pools
            .iter()
            .find(|(found, _)| *found == class)
            .expect("every class has a share of some connections");
        pool
    }

    /// Whether the database's schema is known to fit.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The most connections that a class may use.
    pub(super) fn most(settings: &Settings, class: Class) -> usize {
        divide(settings.pool_size)
            .iter()
            .flat_map(|group| &group.shares)
            .find(|share| share.class == class)
            .map_or(1, |share| share.most)
    }

    /// Closes every connection.
    pub(super) fn close(&self) {
        for (_, pool) in &self.pools {
            pool.close();
        }
    }
}
