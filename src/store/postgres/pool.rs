//! The connections of one class of statements: how it waits for them, and how it runs statements over them.

use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt;
use futures_util::future::join3;
use tokio::time::{Duration, sleep};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::class::Class;
use super::connections::Connections;
use super::failure::{Failure, Remedy};
use super::gate::{Permit, Refused};
use super::lease::Lease;
use super::outcome;
use super::pulse::Pulse;
use super::schema::{SCHEMA, Schema};
use crate::telemetry::metrics::{Counter, Metrics, POOL_IN_USE, POOL_WAITING, Running};

/// A parameter and its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How many clients of the API may wait where visitors wait for the same connections: clients are refused first.
const CLIENTS_QUEUE: usize = 16;
/// While no connection is open and none may be opened for longer than this, callers are refused at once.
const SOON: Duration = Duration::from_millis(25);

/// The connections of one class. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    connections: Arc<Connections>,
    lane: usize,
    class: Class,
    /// How many may wait.
    queue: usize,
    clients_queue: usize,
    pulse: Arc<Pulse>,
    schema: Arc<Schema>,
    metrics: Arc<Metrics>,
    timeouts: Arc<Counter>,
    /// Begins a transaction, and sets its time limits.
    begin: Arc<str>,
    /// Single statements get a transaction of their own, since the session has not their time limits.
    wrapped: bool,
    /// No named statements: the next one may reach another session of a transaction-mode pooler.
    unnamed: bool,
}

/// What one class differs in from those that it shares connections with.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) lane: usize,
    pub(super) class: Class,
    /// The most connections that it may use.
    pub(super) most: usize,
    pub(super) begin: String,
    pub(super) wrapped: bool,
    pub(super) unnamed: bool,
}

impl Pool {
    /// The share that one class has of `connections`.
    pub(super) fn new(
        connections: &Arc<Connections>,
        terms: Terms,
        pulse: &Arc<Pulse>,
        schema: &Arc<Schema>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (name, lane) = (terms.class.name(), terms.lane);
        for (family, at) in [(&POOL_IN_USE, 0), (&POOL_WAITING, 1)] {
            let gate = Arc::downgrade(connections.gate());
            metrics.watch(family, name, move || {
                let (held, waiting) = gate.upgrade()?.lane(lane);
                Some([held, waiting][at] as f64)
            });
        }
        Self {
            connections: Arc::clone(connections),
            lane,
            class: terms.class,
            queue: terms.class.queue() * terms.most,
            clients_queue: CLIENTS_QUEUE * terms.most,
            pulse: Arc::clone(pulse),
            schema: Arc::clone(schema),
            metrics: Arc::clone(metrics),
            timeouts: metrics.pool_timeouts.get(name),
            begin: terms.begin.into(),
            wrapped: terms.wrapped,
            unnamed: terms.unnamed,
        }
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
        let mut result = self.run_kept(&lease, self.wrapped, sql, parameters).await;
        if matches!(&result, Err(failure) if failure.remedy == Remedy::PrepareAgain) {
            // The statement was refused before it did anything, so even a write may run again.
            lease.client().statement_cache.clear();
            result = self.run_kept(&lease, self.wrapped, sql, parameters).await;
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

    /// Runs a statement that is planned for its very values, as no kept plan can be.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let lease = self.lease().await?;
        let rows = lease.client().query_typed(sql, parameters);
        let rows = self.bounded(&lease, self.wrapped, rows);
        let result = self
            .measured(&lease, self.metrics.statements.begin(sql), rows)
            .await;
        self.done(lease, &result);
        result
    }

    /// Borrows a connection.
    pub(super) async fn lease(&self) -> Result<Lease, Failure> {
        self.lease_behind(Queue::Long).await
    }

    /// Borrows a connection, unless too many wait for one.
    async fn lease_behind(&self, queue: Queue) -> Result<Lease, Failure> {
        loop {
            let permit = self.permit(queue).await?;
            if let Some((object, permit)) = self.connections.take(permit).await.map_err(Failure::of_pool)? {
                let lease = Lease::new(Arc::clone(&self.connections), object, permit);
                return self.with_known_schema(lease).await;
            }
        }
    }

    /// A connection for statements: the first ones of a process check the schema before.
    async fn with_known_schema(&self, lease: Lease) -> Result<Lease, Failure> {
        if self.schema.is_known() {
            return Ok(lease);
        }
        // No part of the operation: a change whose schema was not checked in time was not sent.
        let running = self.metrics.statements.begin(SCHEMA);
        let asked = self.bounded(&lease, self.wrapped, lease.client().query_typed(SCHEMA, &[]));
        let answer = lease.busy_with(asked).await.map_err(Failure::of_statement);
        running.end(&answer);
        if let Err(failure) = self.schema.judge(answer) {
            if failure.remedy == Remedy::AnotherConnection {
                self.connections.doubt().raise();
            } else {
                lease.give_back();
            }
            return Err(failure);
        }
        Ok(lease)
    }

    async fn permit(&self, queue: Queue) -> Result<Permit, Failure> {
        let gate = self.connections.gate();
        let bound = match queue {
            Queue::Long => self.queue,
            Queue::Short => self.clients_queue,
            Queue::Any => usize::MAX,
        };
        let mut ticket = gate.enter(self.lane, bound).map_err(|refused| match refused {
            Refused::Full => Failure::of_queue(),
            Refused::Closed => Failure::of_connecting("the store is closed"),
        })?;
        if let Some(answer) = (&mut ticket).now_or_never() {
            return answer.map_err(|reason| Failure::of_connecting(&reason));
        }
        let dialer = self.connections.dialer();
        let mut failing = Box::pin(dialer.failing());
        failing.as_mut().enable();
        self.connections.grow();
        let refused = |longest: Duration| {
            let (pause, reason) = dialer.pause().filter(|_| gate.counts().live == 0)?;
            (pause > longest).then(|| Failure::of_connecting(&reason))
        };
        if let Some(refused) = refused(SOON) {
            return Err(refused);
        }
        loop {
            tokio::select! {
                biased;
                answer = &mut ticket => return answer.map_err(|reason| Failure::of_connecting(&reason)),
                // Another class may have asked first: what it learns of the server holds here too.
                () = failing.as_mut() => {
                    if let Some(refused) = refused(Duration::ZERO) {
                        return Err(refused);
                    }
                    failing.set(dialer.failing());
                }
                () = sleep(self.class.patience()) => {
                    if gate.counts().opening == 0 {
                        break;
                    }
                    // Connections are being opened for those who wait. The caller's own limit bounds this.
                }
            }
        }
        self.timeouts.add_one();
        // If others get their answers, the database is there, and has too much to do.
        if self.pulse.is_recent() {
            return Err(Failure::of_queue());
        }
        Err(Failure::of_connecting("every connection is in use"))
    }

    /// Lets a connection be used again, unless its last statement shows that it is of no use.
    fn done<T>(&self, lease: Lease, result: &Result<T, Failure>) {
        match result {
            Err(failure) if failure.remedy == Remedy::AnotherConnection => self.connections.doubt().raise(),
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
            self.connections.doubt().raise();
        }
    }

    /// What begins a transaction, with the time limits of this class.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// Closes the pool; statements under way come to their end.
    pub(super) fn close(&self) {
        self.connections.close();
    }

    /// Runs a statement whose plan is kept, in a transaction.
    pub(super) async fn run(
        &self,
        lease: &Lease,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        self.run_kept(lease, false, sql, parameters).await
    }

    async fn run_kept(
        &self,
        lease: &Lease,
        wrapped: bool,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let client = lease.client();
        let rows = async {
            if self.unnamed {
                return self
                    .bounded(lease, wrapped, client.query_typed(sql, parameters))
                    .await;
            }
            let statement = client.prepare_cached(sql).await?;
            let values = values(parameters);
            self.bounded(lease, wrapped, client.query(&statement, &values))
                .await
        };
        self.measured(lease, self.metrics.statements.begin(sql), rows)
            .await
    }

    /// The same, for a statement that gives no rows: answers how many it touched.
    pub(super) async fn run_blind(
        &self,
        lease: &Lease,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Failure> {
        let client = lease.client();
        let rows = async {
            if self.unnamed {
                return client.execute_typed(sql, parameters).await;
            }
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, &values(parameters)).await
        };
        self.measured(lease, self.metrics.statements.begin(sql), rows)
            .await
    }

    /// Runs a statement that is planned for its very values, in a transaction.
    pub(super) async fn run_planned(
        &self,
        lease: &Lease,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let rows = lease.client().query_typed(sql, parameters);
        self.measured(lease, self.metrics.statements.begin(sql), rows)
            .await
    }

    /// Runs a single statement under the time limits of its class. Where the session has others, the statement gets a
    /// transaction; all three messages are sent at once, so that costs no round trip.
    async fn bounded<T>(
        &self,
        lease: &Lease,
        wrapped: bool,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        if !wrapped {
            return statement.await;
        }
        let client: &ClientWrapper = lease.client();
        let begin = client.batch_execute(&self.begin);
        // Rolls back if the statement failed.
        let commit = client.batch_execute("COMMIT");
        // In this order: each is sent when it is polled first.
        let (begun, result, committed) = join3(begin, statement, commit).await;
        begun?;
        let result = result?;
        committed?;
        Ok(result)
    }

    /// Counts a statement, and learns from its result, which says something of the database too.
    pub(super) async fn measured<T>(
        &self,
        lease: &Lease,
        running: Running,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        outcome::sent();
        let result = lease.busy_with(statement).await.map_err(Failure::of_statement);
        if !matches!(&result, Err(Failure { code: None, .. })) {
            outcome::answered();
        }
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
