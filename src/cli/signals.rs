//! SIGTERM, SIGINT and SIGHUP.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lifecycle::Lifecycle;

/// The signals that ask this process to stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP: somebody has changed a file that the service is to read again.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, String> {
        signal(SignalKind::hangup())
            .map(Self)
            .map_err(|err| format!("signals cannot be received: {err}"))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM: an orchestrator, whose routers may still send requests.
    ByOrchestrator,
    /// SIGINT: a person at a terminal, who waits.
    ByPerson,
}

impl Signals {
    /// Listens from now on. To be called first of all: as process 1 of a container, a process without a
    /// handler is not sent the signal at all.
    pub(super) fn listen() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|err| format!("signals cannot be received: {err}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal. The next one ends the process at once.
    pub(super) async fn first(mut self) -> Asked {
        let asked = self.next().await;
        Lifecycle::new().spawn(|_stop| async move {
            self.next().await;
            std::process::exit(1);
        });
        asked
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::ByOrchestrator,
            _ = self.interrupt.recv() => Asked::ByPerson,
        }
    }
}
