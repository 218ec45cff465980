//! Whether an idle connection still works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Hook, HookError, Metrics as Usage};
use parking_lot::Mutex;

/// How long a connection may take to show that it still works, while a caller waits.
pub(super) const PROVE: Duration = Duration::from_millis(250);
/// A connection that was idle this long is tested before it is used: firewalls and frozen instances drop them in silence.
const IDLE_DOUBTED: Duration = Duration::from_secs(30);

/// The last time that a connection turned out dead. What was not used since is likely dead too: a server
/// that restarts or fails over leaves all its connections at once.
#[derive(Debug, Default)]
pub(super) struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    pub(super) fn raise(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    fn covers(&self, last_used: Instant) -> bool {
        self.0.lock().is_some_and(|raised| last_used < raised)
    }
}

/// Lets a connection be reused only if it is likely to work.
pub(super) fn trusted(doubt: Arc<Doubt>) -> Hook {
    Hook::async_fn(move |client: &mut ClientWrapper, usage: &Usage| {
        let doubt = Arc::clone(&doubt);
        Box::pin(async move {
            if client.is_closed() || doubt.covers(usage.recycled.unwrap_or(usage.created)) {
                return Err(HookError::message("not to be trusted"));
            }
            if usage.last_used() > IDLE_DOUBTED && !works(client, PROVE).await {
                doubt.raise();
                return Err(HookError::message("dead"));
            }
            Ok(())
        })
    })
}

/// Whether the server answers over this connection in time.
pub(super) async fn works(client: &ClientWrapper, limit: Duration) -> bool {
    matches!(
        tokio::time::timeout(limit, client.check_connection()).await,
        Ok(Ok(()))
    )
}
