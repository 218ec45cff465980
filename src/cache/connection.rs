//! The connection to a Redis server that all calls of this process share, and when to use it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, cmd,
};
use futures_util::FutureExt;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::breaker::{Admission, Breaker, BreakerState};
use super::per_thread::PerThread;
use crate::telemetry::metrics::Metrics;

/// The longest that connecting may take, with TLS and the log-in.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_millis(100);
/// The longest that a probe may take: two attempts to connect. Less than the breaker's shortest pause, so that
/// there is one probe at a time.
const PROBE_LIMIT: Duration = Duration::from_millis(240);
/// Commands that may wait to be written, and that may wait for their answer.
const QUEUED: usize = 1024;
const IN_FLIGHT: usize = 256;

/// A connection that calls share, and a breaker that says when none is to be made.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

/// Whether threads that ask get connections of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// All threads use the shared connection.
    Always,
    /// Each thread with a runtime of its own gets one, which is shared by its calls.
    WithinThread,
}

/// What the commands of a call are sent on.
pub(super) enum Line {
    Shared(ConnectionManager),
    OfThread(MultiplexedConnection),
}

/// What became of a call, if it ended within its limit.
pub(super) type Outcome<T> = Result<RedisResult<T>, Elapsed>;

struct Inner {
    client: Client,
    runtime: Handle,
    /// Replaced by a probe that succeeded.
    current: RwLock<ConnectionManager>,
    per_thread: Option<PerThread>,
    breaker: Breaker,
    metrics: Arc<Metrics>,
}

impl Connection {
    /// A connection whose tasks live on `runtime`. It is made by the first call, unless [`Connection::prepare`] is
    /// called before.
    pub(super) fn open(
        client: Client,
        sharing: Sharing,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> RedisResult<Self> {
        let connection = unconnected(&client)?;
        let per_thread = match sharing {
            Sharing::Always => None,
            Sharing::WithinThread => Some(PerThread::new(client.clone(), settings_of_threads(), &runtime)),
        };
        Ok(Self(Arc::new(Inner {
            client,
            runtime,
            current: RwLock::new(connection),
            per_thread,
            breaker: Breaker::new(Instant::now(), fastrand::Rng::new()),
            metrics,
        })))
    }

    /// Connects in the background, so that the first call finds the connection there.
    pub(super) fn prepare(&self) {
        self.0.probe(self.0.shared());
    }

    /// Whether calls are refused for now.
    pub(super) fn is_broken(&self) -> bool {
        self.0.breaker.state() == BreakerState::Open
    }

    /// Asks for leave to make a call.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.0.breaker.admit(now) {
            Admission::Pass => true,
            Admission::Probe => {
                // The probe is made beside the caller, who does not wait for it.
                self.0.probe_afresh();
                false
            }
            Admission::Refuse => false,
        }
    }

    /// What a call is made on.
    pub(super) fn current(&self) -> Line {
        let of_thread = self.0.per_thread.as_ref().and_then(PerThread::current);
        of_thread.map_or_else(|| Line::Shared(self.0.shared()), Line::OfThread)
    }

    /// Tells the breaker what became of a call that began at `began`. A failure is counted, and is `None`.
    pub(super) fn judge<T>(&self, began: Instant, outcome: Outcome<T>) -> Option<T> {
        let now = Instant::now();
        let breaker = &self.0.breaker;
        let (cause, opened) = match outcome {
            Ok(Ok(value)) => {
                breaker.succeeded(now);
                return Some(value);
            }
            Ok(Err(err)) if is_lost(&err) => {
                if let Some(per_thread) = &self.0.per_thread {
                    per_thread.lost();
                }
                (err.to_string(), breaker.lost(began, now))
            }
            Ok(Err(err)) => (err.to_string(), breaker.failed(now)),
            Err(_) => ("no answer in time".to_owned(), breaker.failed(now)),
        };
        self.0.metrics.shared_cache.failed.add_one();
        if opened {
            self.0.metrics.shared_cache.opened.add_one();
            tracing::warn!(
                error = cause,
                "the shared cache fails and is not asked for now: {cause}"
            );
        }
        None
    }
}

impl Inner {
    fn shared(&self) -> ConnectionManager {
        let current = self.current.read();
        current.clone()
    }

    /// Probes with a connection of its own: a server that vanished without a word leaves the old one to wait
    /// for its answers for many minutes, and one that refused a log-in once is never asked again.
    fn probe_afresh(self: &Arc<Self>) {
        if let Ok(connection) = unconnected(&self.client) {
            self.probe(connection);
        }
    }

    /// Starts a task that connects and, if Redis answers, makes the connection the shared one. The task needs
    /// no owner that waits for it: it ends by itself after [`PROBE_LIMIT`], and nothing is lost with it.
    fn probe(self: &Arc<Self>, mut connection: ConnectionManager) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            let ping = cmd("PING");
            let answer = timeout(PROBE_LIMIT, ping.exec_async(&mut connection));
            // A panic is a failure: the breaker waits for what the probe says.
            let answer = AssertUnwindSafe(answer).catch_unwind().await;
            let alive = matches!(answer, Ok(Ok(Ok(()))));
            if alive {
                *inner.current.write() = connection;
                if let Some(per_thread) = &inner.per_thread {
                    per_thread.leave_all();
                }
            }
            if inner.breaker.probed(alive, Instant::now()) {
                tracing::info!("the shared cache answers again");
            }
        });
    }
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Shared(connection) => connection.req_packed_command(cmd),
            Self::OfThread(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Shared(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::OfThread(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Shared(connection) => connection.get_db(),
            Self::OfThread(connection) => connection.get_db(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it knows the password.
        f.debug_struct("Connection")
            .field("breaker", &self.0.breaker.state())
            .finish_non_exhaustive()
    }
}

fn unconnected(client: &Client) -> RedisResult<ConnectionManager> {
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        // Every call has its limit already. One more timer each would be kept by another thread's runtime.
        .set_response_timeout(None)
        .set_min_delay(Duration::from_millis(20))
        .set_max_delay(Duration::from_millis(200))
        .set_number_of_retries(1)
        .set_pipeline_buffer_size(QUEUED)
        .set_concurrency_limit(IN_FLIGHT);
    ConnectionManager::new_lazy_with_config(client.clone(), settings)
}

/// Every call has its limit already, as it has on the shared connection.
fn settings_of_threads() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUED)
        .set_concurrency_limit(IN_FLIGHT)
}

/// Whether the connection broke, rather than could not be made.
fn is_lost(err: &RedisError) -> bool {
    err.is_connection_dropped() && !err.is_connection_refusal()
}

/// Runs `future` with `runtime` as the current one whenever it is polled.
///
/// The client reconnects from within calls: it takes a socket from the current runtime, and starts the task
/// that serves it there. Every worker thread of the HTTP server has a runtime of its own that ends before the
/// process does, and would take the shared connection with it. To enter the right runtime costs a write to
/// a thread-local; to hand the call over to a task on it would cost two wake-ups of another thread.
pub(super) async fn within<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = runtime.enter();
        future.as_mut().poll(context)
    })
    .await
}
