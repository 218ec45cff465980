//! Opens connections, on one runtime, whichever runtime asks.

use std::future::{Future, pending};
use std::pin::Pin;

use deadpool_postgres::Connect;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, NoTls, Socket};
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
}

impl Connector {
    /// A connector on the runtime that this is called in.
    pub(super) fn new(tls: Tls) -> Self {
        Self {
            runtime: Handle::current(),
            tls,
        }
    }

    /// Opens a connection. The attempt ends with the future.
    pub(super) async fn open(&self, config: &Config) -> Result<Connected, Error> {
        let (runtime, config) = (self.runtime.clone(), config.clone());
        let attempt = match self.tls.clone() {
            Tls::Off => self.runtime.spawn(open(runtime, config, NoTls)),
            Tls::On(tls) => self.runtime.spawn(open(runtime, config, tls)),
        };
        match AbortOnDropHandle::new(attempt).await {
            Ok(result) => result,
            // The runtime is gone, so nothing will ever come of this; the caller's time limit answers.
            Err(_) => pending().await,
        }
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move { self.open(&config).await })
    }
}

async fn open<T>(runtime: Handle, config: Config, tls: T) -> Result<Connected, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = runtime.spawn(async move {
        if let Err(err) = connection.await {
            tracing::debug!(error = %err, "a database connection ended: {err}");
        }
    });
    Ok((client, driver))
}
