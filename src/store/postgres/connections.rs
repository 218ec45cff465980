//! The connections of one group: opened by tasks of the group, tested while they are idle, closed when they are of no use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::Config;

use super::connect::{Connector, FromOpened, Opened};
use super::dial::Dialer;
use super::gate::{Closing, Gate, Permit};
use super::trust::{Doubt, PROVE, trusted, works};
use crate::store::StoreError;
use crate::telemetry::metrics::{Metrics, POOL_MAX, POOL_OPEN};

/// A pool gives what it has, or fails at once: connections are opened by [`Connections::grow`].
const AT_ONCE: Timeouts = Timeouts {
    wait: Some(Duration::ZERO),
    create: Some(Duration::ZERO),
    recycle: Some(PROVE),
};
/// How often idle connections are tested. Cut by up to half, so that instances do not keep step.
const TEST_EVERY: Duration = Duration::from_secs(40);
/// How long the test may take. Nobody waits for it, and a connection to another continent is not to be lost to it.
const TEST_LIMIT: Duration = Duration::from_secs(2);
/// How long the group waits before it replaces the last connection without being asked, at most: a failover ends the
/// connections of all instances at once.
const REPLACE_AFTER: Duration = Duration::from_millis(500);
/// How long a single statement whose caller left may go on before it is cancelled.
const GRACE: Duration = Duration::from_millis(300);
/// How long a statement that was given up may take to end, once the server is asked to end it.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// Connections that some classes share.
#[derive(Debug)]
pub(super) struct Connections {
    inner: deadpool_postgres::Pool,
    gate: Arc<Gate>,
    opened: Arc<Opened>,
    dialer: Arc<Dialer>,
    connector: Connector,
    config: Config,
    doubt: Arc<Doubt>,
    metrics: Arc<Metrics>,
}

impl Connections {
    /// Up to `size` connections, none of them open yet. Call it within the runtime that shall drive them.
    pub(super) fn new(
        config: Config,
        connector: Connector,
        size: usize,
        lanes: impl Iterator<Item = usize>,
        dialer: Arc<Dialer>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, StoreError> {
        let (opened, doubt) = (Arc::<Opened>::default(), Arc::<Doubt>::default());
        let manager = Manager::from_connect(
            config.clone(),
            FromOpened(Arc::clone(&opened)),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .pre_recycle(trusted(Arc::clone(&doubt)))
            .build()
            .map_err(|err| StoreError::Settings(err.to_string()))?;
        let connections = Arc::new(Self {
            inner,
            gate: Gate::new(size, lanes),
            opened,
            dialer,
            connector,
            config,
            doubt,
            metrics: Arc::clone(metrics),
        });
        let runtime = connections.connector.runtime().clone();
        drop(runtime.spawn(keep_warm(Arc::downgrade(&connections))));
        Ok(connections)
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What was idle until now is likely dead.
    pub(super) fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    /// Opens connections for those who wait.
    pub(super) fn grow(self: &Arc<Self>) {
        for _ in 0..self.gate.wanted() {
            self.open();
        }
    }

    /// Opens a connection that counts as being opened. The attempt is the group's: it goes on whoever leaves.
    fn open(self: &Arc<Self>) {
        let connections = Arc::clone(self);
        let attempt = async move {
            match connections
                .dialer
                .dial(&connections.connector, &connections.config)
                .await
            {
                Ok(connected) => {
                    connections.opened.add(connected);
                    connections.gate.opened();
                }
                Err(reason) => connections.gate.not_opened(&reason),
            }
        };
        drop(self.connector.runtime().spawn(attempt));
    }

    /// The connection that `permit` gives leave to use; `None` if it turned out to be gone, and the permit is spent.
    pub(super) async fn take(
        self: &Arc<Self>,
        permit: Permit,
    ) -> Result<Option<(Object, Permit)>, PoolError> {
        match self.inner.timeout_get(&AT_ONCE).await {
            Ok(object) => Ok(Some((object, permit))),
            Err(PoolError::Timeout(_)) => {
                permit.retire();
                self.grow();
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }

    /// Closes a connection that is at no statement.
    pub(super) fn discard(self: &Arc<Self>, object: Object, permit: Permit) {
        drop(Object::take(object));
        permit.retire();
        self.grow();
    }

    /// Takes back a connection whose caller left while a statement was under way. A single statement that ends soon costs
    /// nothing: far from the database, the answer may come just after the caller gave up. Any other is cancelled, and its
    /// connection is closed. Until then it counts as one of the group's, so the server never has more sessions than that.
    pub(super) fn abandon(self: &Arc<Self>, object: Object, permit: Permit, single: bool) {
        let closing = permit.close();
        let connections = Arc::clone(self);
        let ending = async move {
            if single && works(&object, GRACE).await {
                drop(object);
                closing.reopen();
            } else {
                connections.cancel(Object::take(object), closing).await;
                connections.grow();
            }
        };
        drop(self.connector.runtime().spawn(ending));
    }

    async fn cancel(&self, client: ClientWrapper, closing: Closing) {
        if !client.is_closed() {
            let session = client.cancel_token();
            let ended = timeout(CANCEL_LIMIT, async {
                self.connector.cancel(&session).await?;
                // Answered after the statement has ended.
                client.check_connection().await
            });
            let ended = matches!(ended.await, Ok(Ok(())));
            let counts = &self.metrics.cancelled;
            if ended { &counts.ended } else { &counts.unknown }.add_one();
        }
        // Never used again: the request may reach the server late, and would end the next statement.
        drop((client, closing));
    }

    pub(super) fn close(&self) {
        self.gate.close(&"the store is closed".into());
        self.inner.close();
        self.connector.ended().notify_one();
    }

    /// Shows how many connections there are.
    pub(super) fn watch(self: &Arc<Self>, name: &'static str, size: usize) {
        self.metrics.watch(&POOL_MAX, name, move || Some(size as f64));
        let gate = Arc::downgrade(&self.gate);
        let open = move || Some(gate.upgrade()?.counts().open as f64);
        self.metrics.watch(&POOL_OPEN, name, open);
    }

    /// Tests idle connections. Without any, opens one.
    async fn test_idle(self: &Arc<Self>) {
        for _ in 0..self.gate.counts().live {
            let Some(permit) = self.gate.take_idle() else {
                break;
            };
            let Ok(taken) = self.take(permit).await else {
                return;
            };
            let Some((object, permit)) = taken else { continue };
            if works(&object, TEST_LIMIT).await {
                drop(object);
                drop(permit);
            } else {
                self.doubt.raise();
                self.discard(object, permit);
            }
        }
        if self.gate.counts().live == 0 {
            tokio::time::sleep(REPLACE_AFTER.mul_f64(fastrand::f64())).await;
            if self.gate.wants_one_warm() {
                self.open();
            }
        }
    }
}

/// Keeps one connection of a group open, once the group was used, and its idle connections alive. Between two tests it sleeps: an
/// instance without CPU misses some, and makes up for none.
async fn keep_warm(group: Weak<Connections>) {
    let mut used = false;
    loop {
        let Some(connections) = group.upgrade() else {
            return;
        };
        if connections.gate.is_closed() {
            return;
        }
        used |= connections.gate.counts().live > 0;
        if used {
            connections.test_idle().await;
        }
        let ended = Arc::clone(connections.connector.ended());
        drop(connections);
        let pause = TEST_EVERY.mul_f64(0.5 + fastrand::f64() / 2.0);
        // A connection that ended by itself is noticed at once.
        let _ = timeout(pause, ended.notified()).await;
    }
}
