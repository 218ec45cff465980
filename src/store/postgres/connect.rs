//! Opens connections, on one runtime, whichever runtime asks, and asks servers to end statements.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use deadpool_postgres::Connect;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, Error, NoTls, Socket};
use tokio_util::task::AbortOnDropHandle;

use super::tls::Tls;

/// A client, and the task that drives its connection until the client is dropped.
pub(super) type Connected = (Client, JoinHandle<()>);

/// Opens connections on the runtime it was made in. A socket belongs to the runtime that opened it, and the
/// web server's workers have runtimes of their own, which end before the pools are closed.
#[derive(Debug)]
pub(super) struct Connector {
    runtime: Handle,
    tls: Tls,
    /// Notified when a connection has ended by itself.
    ended: Arc<Notify>,
}

impl Connector {
    /// A connector on the runtime that this is called in.
    pub(super) fn new(tls: Tls) -> Self {
        Self {
            runtime: Handle::current(),
            tls,
            ended: Arc::default(),
        }
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn ended(&self) -> &Arc<Notify> {
        &self.ended
    }

    /// Opens a connection. The attempt ends with the future.
    pub(super) async fn open(&self, config: &Config) -> Result<Connected, Error> {
        let (runtime, config, ended) = (self.runtime.clone(), config.clone(), Arc::clone(&self.ended));
        let attempt = match self.tls.clone() {
            Tls::Off => self.runtime.spawn(open(runtime, config, NoTls, ended)),
            Tls::On(tls) => self.runtime.spawn(open(runtime, config, tls, ended)),
        };
        match AbortOnDropHandle::new(attempt).await {
            Ok(result) => result,
            // The runtime is gone, so nothing will ever come of this; the caller's time limit answers.
            Err(_) => pending().await,
        }
    }

    /// Asks the server, over a connection of its own, to end the statement that a session is at.
    pub(super) async fn cancel(&self, session: &CancelToken) -> Result<(), Error> {
        match self.tls.clone() {
            Tls::Off => session.cancel_query(NoTls).await,
            Tls::On(tls) => session.cancel_query(tls).await,
        }
    }
}

async fn open<T>(runtime: Handle, config: Config, tls: T, ended: Arc<Notify>) -> Result<Connected, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = runtime.spawn(async move {
        if let Err(err) = connection.await {
            tracing::debug!(error = %err, "a database connection ended: {err}");
        }
        ended.notify_one();
    });
    Ok((client, driver))
}

/// Connections that were opened and that no pool has yet. The pool takes them from here, and never connects by itself: a
/// caller that leaves would end the attempt.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<Vec<Connected>>);

impl Opened {
    pub(super) fn add(&self, connected: Connected) {
        self.0.lock().push(connected);
    }

    fn take(&self) -> Option<Connected> {
        let mut opened = self.0.lock();
        opened.retain(|(client, _)| !client.is_closed());
        opened.pop()
    }
}

/// Gives a pool what was opened for it.
pub(super) struct FromOpened(pub(super) Arc<Opened>);

impl Connect for FromOpened {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        Box::pin(async {
            match self.0.take() {
                Some(connected) => Ok(connected),
                // The pool gives up at once.
                None => pending().await,
            }
        })
    }
}
