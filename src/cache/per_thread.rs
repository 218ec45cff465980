//! A connection to a Redis server for each thread that asks: its answers wake no other thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client};
use parking_lot::{Mutex, MutexGuard};
use thread_local::ThreadLocal;
use tokio::runtime::{Handle, Id};

/// Time between two attempts of a thread to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections of threads that have a runtime of their own, each served by that runtime and gone with it.
///
/// A thread has none before its first call, nor while its own is made again: it uses the shared one then.
pub(super) struct PerThread {
    client: Client,
    settings: AsyncConnectionConfig,
    /// The runtime that serves the shared connection. What runs there needs no other.
    home: Id,
    slots: ThreadLocal<Arc<Mutex<Slot>>>,
    /// A connection of another age is not used any more.
    age: AtomicU64,
}

/// What a thread has.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// An attempt to connect began at this time. It is under way, or has failed.
    Tried(Instant),
    Open {
        connection: MultiplexedConnection,
        age: u64,
    },
}

impl PerThread {
    /// No connection yet. There will be none for what runs on `home`.
    pub(super) fn new(client: Client, settings: AsyncConnectionConfig, home: &Handle) -> Self {
        Self {
            client,
            settings,
            home: home.id(),
            slots: ThreadLocal::new(),
            age: AtomicU64::new(0),
        }
    }

    /// This thread's connection. If it has none, one is made in the background.
    pub(super) fn current(&self) -> Option<MultiplexedConnection> {
        let slot = self.slots.get_or_default();
        let age = self.age.load(Ordering::Relaxed);
        let mut held = lock(slot);
        match &*held {
            Slot::Open {
                connection,
                age: made,
            } if *made == age => return Some(connection.clone()),
            Slot::Tried(began) if began.elapsed() < PAUSE => return None,
            _ => {}
        }
        let here = Handle::try_current().ok().filter(|here| here.id() != self.home)?;
        *held = Slot::Tried(Instant::now());
        let (client, settings, slot) = (self.client.clone(), self.settings.clone(), Arc::clone(slot));
        // The task needs no owner that waits for it: nothing is lost with it.
        here.spawn(async move {
            let connected = client
                .get_multiplexed_async_connection_with_config(&settings)
                .await;
            if let Ok(connection) = connected {
                *lock(&slot) = Slot::Open { connection, age };
            }
        });
        None
    }

    /// A call of this thread lost its connection: another one is made for the next.
    pub(super) fn lost(&self) {
        if let Some(slot) = self.slots.get() {
            let mut held = lock(slot);
            if matches!(*held, Slot::Open { .. }) {
                *held = Slot::Empty;
            }
        }
    }

    /// Leaves every thread's connection: the server did not answer on them, and does on another one.
    pub(super) fn leave_all(&self) {
        self.age.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock()
}
