//! Connections: when they are reused, and when they are thrown away.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics as Usage, Object, PoolError,
    RecyclingMethod, Runtime,
};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::Connector;
use super::failure::{Failure, Remedy};
use super::pulse::Pulse;
use super::settings::{Purpose, Settings};
use crate::store::StoreError;
use crate::telemetry::metrics::{Counter, Metrics, POOL_IN_USE, POOL_MAX, POOL_OPEN, POOL_WAITING, Running};

/// A parameter and its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How long a statement waits for a connection to come free, where somebody waits for a row.
const WAIT_TO_READ: Duration = Duration::from_millis(200);
/// The same for everything else.
const WAIT: Duration = Duration::from_secs(1);
/// How many visitors may wait for each connection. More would only wait to be turned away.
const QUEUE: usize = 64;
/// How many writers may: a write takes longer.
const WRITERS_QUEUE: usize = 32;
/// The same for clients of the API, where visitors wait for the same connections: clients are turned away first.
const CLIENTS_QUEUE: usize = 16;
/// How long connecting may take, with encryption and authentication.
const CREATE: Duration = Duration::from_secs(1);
/// How long a connection may take to show that it still works.
const PROVE: Duration = Duration::from_millis(250);
/// A connection that was idle this long is asked whether it still works.
const IDLE_DOUBTED: Duration = Duration::from_secs(30);
/// A connection that was idle this long is thrown away: firewalls and frozen instances drop them in silence.
const IDLE_DROPPED: Duration = Duration::from_secs(300);

/// Connections for one purpose. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    inner: deadpool_postgres::Pool,
    doubt: Arc<Doubt>,
    pulse: Arc<Pulse>,
    /// How many may wait for each connection.
    queue: usize,
    metrics: Arc<Metrics>,
    timeouts: Arc<Counter>,
    /// No named statements: the next one may reach another session of a transaction-mode pooler.
    unnamed: bool,
}

impl Pool {
    /// A pool that connects when it is first used.
    pub(super) fn new(
        settings: &Settings,
        purpose: Purpose,
        size: usize,
        pulse: Arc<Pulse>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let manager = Manager::from_connect(
            settings.config(purpose),
            Connector::new(settings.tls.clone()),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let doubt = Arc::new(Doubt::default());
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(match purpose {
                Purpose::Reads => WAIT_TO_READ,
                Purpose::Writes | Purpose::Bulk | Purpose::Migration => WAIT,
            }))
            .create_timeout(Some(CREATE))
            .recycle_timeout(Some(PROVE))
            .pre_recycle(trusted(Arc::clone(&doubt)))
            .build()
            .map_err(|err| StoreError::Settings(err.to_string()))?;
        let name = match purpose {
            Purpose::Reads => "read",
            Purpose::Bulk => "bulk",
            Purpose::Writes | Purpose::Migration => "write",
        };
        watch(&metrics, name, &inner);
        Ok(Self {
            inner,
            doubt,
            pulse,
            queue: match purpose {
                Purpose::Reads => QUEUE,
                Purpose::Writes | Purpose::Bulk | Purpose::Migration => WRITERS_QUEUE,
            },
            timeouts: metrics.pool_timeouts.get(name),
            metrics,
            unnamed: settings.pooler,
        })
    }

    /// Runs a statement that gives one row at most.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, Failure> {
        self.query_opt_behind(Queue::Long, sql, parameters).await
    }

    /// The same, unless more than a queue of this kind wait already.
    pub(super) async fn query_opt_behind(
        &self,
        queue: Queue,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, Failure> {
        let rows = self.query_kept(queue, sql, parameters).await?;
        debug_assert!(rows.len() < 2, "a statement gave more rows than it should");
        Ok(rows.into_iter().next())
    }

    /// Runs a statement whose plan is kept, unless more than a queue of this kind wait already.
    pub(super) async fn query_kept(
        &self,
        queue: Queue,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let lease = self.lease_behind(queue).await?;
        let mut result = self.run(lease.client(), sql, parameters).await;
        if matches!(&result, Err(failure) if failure.remedy == Remedy::PrepareAgain) {
            // The statement was refused before it did anything, so even a write may run again.
            lease.client().statement_cache.clear();
            result = self.run(lease.client(), sql, parameters).await;
        }
        self.done(lease, &result);
        result
    }

    /// Runs a statement that only reads; once more if the connection turned out dead.
    pub(super) async fn read(
        &self,
        queue: Queue,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, Failure> {
        match self.query_opt_behind(queue, sql, parameters).await {
            Err(failure) if failure.remedy == Remedy::AnotherConnection => {
                self.query_opt_behind(queue, sql, parameters).await
            }
            result => result,
        }
    }

    /// Borrows a connection.
    pub(super) async fn lease(&self) -> Result<Lease, Failure> {
        self.lease_behind(Queue::Long).await
    }

    /// Borrows a connection, unless too many wait for one.
    async fn lease_behind(&self, queue: Queue) -> Result<Lease, Failure> {
        let status = self.inner.status();
        let bound = match queue {
            Queue::Long => self.queue,
            Queue::Short => CLIENTS_QUEUE,
            Queue::Any => usize::MAX,
        };
        if status.waiting > bound.saturating_mul(status.max_size) {
            return Err(Failure::of_queue());
        }
        let err = match self.inner.get().await {
            Ok(connection) => return Ok(Lease(Some(connection))),
            Err(err) => err,
        };
        if matches!(err, PoolError::Timeout(_)) {
            self.timeouts.add_one();
        }
        let failure = Failure::of_pool(err);
        // If others get their answers, the database is there, and has too much to do.
        if failure.remedy == Remedy::Wait && self.pulse.is_recent() {
            return Err(Failure::of_queue());
        }
        Err(failure)
    }

    /// Lets a connection be used again, unless its last statement shows that it is of no use.
    fn done<T>(&self, lease: Lease, result: &Result<T, Failure>) {
        match result {
            Err(failure) if failure.remedy == Remedy::AnotherConnection => self.doubt.raise(),
            _ => lease.give_back(),
        }
    }

    /// Whether the database answers, in whichever pool.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The figures that statements are counted in.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Takes note of what a failure says of all connections.
    pub(super) fn learn_from(&self, failure: &Failure) {
        if failure.remedy == Remedy::AnotherConnection {
            self.doubt.raise();
        }
    }

    /// Runs a statement that is planned for its very values, as no kept plan can be.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let lease = self.lease().await?;
        let result = self.run_planned(lease.client(), sql, parameters).await;
        self.done(lease, &result);
        result
    }

    /// Closes the pool; statements under way come to their end.
    pub(super) fn close(&self) {
        self.inner.close();
    }

    /// Runs a statement whose plan is kept.
    pub(super) async fn run(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let rows = async {
            if self.unnamed {
                return client.query_typed(sql, parameters).await;
            }
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, &values(parameters)).await
        };
        self.measured(self.metrics.statements.begin(sql), rows).await
    }

    /// The same, for a statement that gives no rows: answers how many it touched.
    pub(super) async fn run_blind(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Failure> {
        let rows = async {
            if self.unnamed {
                return client.execute_typed(sql, parameters).await;
            }
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, &values(parameters)).await
        };
        self.measured(self.metrics.statements.begin(sql), rows).await
    }

    /// Runs a statement that is planned for its very values.
    pub(super) async fn run_planned(
        &self,
        client: &ClientWrapper,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let rows = client.query_typed(sql, parameters);
        self.measured(self.metrics.statements.begin(sql), rows).await
    }

    /// Counts a statement, and learns from its result, which says something of the database too.
    pub(super) async fn measured<T>(
        &self,
        running: Running,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let result = statement.await.map_err(Failure::of_statement);
        if result.is_ok() {
            self.pulse.beat();
        }
        running.end(&result);
        result
    }
}

fn values<'a>(parameters: &[Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|(value, _)| *value).collect()
}

/// Shows what the pool does.
fn watch(metrics: &Metrics, name: &'static str, pool: &deadpool_postgres::Pool) {
    type Figure = fn(deadpool_postgres::Status) -> usize;
    let figures: [(_, Figure); 4] = [
        (&POOL_MAX, |status| status.max_size),
        (&POOL_OPEN, |status| status.size),
        (&POOL_IN_USE, |status| {
            status.size.saturating_sub(status.available)
        }),
        (&POOL_WAITING, |status| status.waiting),
    ];
    for (family, figure) in figures {
        let pool = pool.clone();
        metrics.watch(family, name, move || Some(figure(pool.status()) as f64));
    }
}

/// How many may wait before somebody is turned away at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// As many as have a chance.
    Long,
    /// Fewer: those who wait in the long one come first.
    Short,
    /// Any number: who asks whether the database is well is never turned away.
    Any,
}

/// A borrowed connection. Unless it is given back, it is thrown away: the answer to an abandoned statement
/// would still be under way, and the next statement would wait behind it.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) fn client(&self) -> &ClientWrapper {
        self.0
            .as_ref()
            .expect("a lease holds its connection until it is given back")
    }

    /// Lets the connection be used again.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// The last time that a connection turned out dead. What was not used since is likely dead too: a server
/// that restarts or fails over leaves all its connections at once.
#[derive(Debug, Default)]
struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    fn raise(&self) {
        *self.0.lock().expect("doubt lock poisoned") = Some(Instant::now());
    }

    fn covers(&self, last_used: Instant) -> bool {
        self.0
            .lock()
            .expect("doubt lock poisoned")
            .is_some_and(|raised| last_used < raised)
    }
}

/// Lets a connection be reused only if it is likely to work.
fn trusted(doubt: Arc<Doubt>) -> Hook {
    Hook::async_fn(move |client: &mut ClientWrapper, usage: &Usage| {
        let doubt = Arc::clone(&doubt);
        Box::pin(async move {
            let idle = usage.last_used();
            if doubt.covers(usage.recycled.unwrap_or(usage.created)) || idle > IDLE_DROPPED {
                return Err(HookError::message("not to be trusted"));
            }
            if idle > IDLE_DOUBTED && !works(client).await {
                doubt.raise();
                return Err(HookError::message("dead"));
            }
            Ok(())
        })
    })
}

async fn works(client: &ClientWrapper) -> bool {
    matches!(
        tokio::time::timeout(PROVE, client.check_connection()).await,
        Ok(Ok(()))
    )
}
