//! What instances tell each other of changes, over a channel of the shared cache.

use std::time::Duration;

use deadpool_redis::redis::{Msg, RedisError, RedisResult, Value};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::servers::Servers;
use super::{Entry, codec};
use crate::domain::Slug;

/// Who is told of a change. Called for one change after another.
pub type Hear<'a> = &'a mut (dyn FnMut(Slug, Entry) + Send);

/// Tells the other instances of a change, and hears what they tell.
///
/// Nothing hangs on it: who does not hear of a change finds out when its own entry is no longer fresh.
pub trait Bulletin: Send + Sync {
    /// Tells that `entry` now stands for `slug`; `false` if that may not have been said.
    fn tell<'a>(&'a self, slug: &'a Slug, entry: &'a Entry) -> BoxFuture<'a, bool>;

    /// Hears what is told, this instance's own changes too, until it is dropped. Fills the gaps by itself when
    /// the shared cache fails, but for what was told meanwhile.
    fn listen<'a>(&'a self, hear: Hear<'a>) -> BoxFuture<'a, ()>;
}

/// The longest that it may take to connect and to subscribe, and to answer a PING.
const LIMIT: Duration = Duration::from_secs(1);
/// A channel that was silent for so long is asked whether it is still there: a network that fails says nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two attempts to subscribe. Up to twice as long, so that many instances do not come at once.
const PAUSE: Duration = Duration::from_millis(250);

/// Hears what is told on `channel` for ever. In a cluster any node is told what one was; when it fails, another one
/// is listened to.
pub(super) async fn listen(servers: &Servers, channel: &str, hear: Hear<'_>) {
    loop {
        if let Err(err) = subscribed(servers, channel, hear).await {
            servers.was_deaf();
            tracing::debug!(error = %err, "changes of other instances are not heard: {err}");
        }
        sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
    }
}

/// Hears what is told until the connection fails.
async fn subscribed(servers: &Servers, channel: &str, hear: Hear<'_>) -> RedisResult<()> {
    let (node, client) = servers.to_listen_to()?;
    let subscribing = async {
        let mut channels = client.get_async_pubsub().await?;
        channels.subscribe(channel).await?;
        Ok::<_, RedisError>(channels)
    };
    let (mut asking, mut messages) = in_time(subscribing).await?.split();
    loop {
        match timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => {
                if let Some((slug, entry)) = read(&message) {
                    hear(slug, entry);
                }
            }
            Ok(None) => return Ok(()),
            Err(_) if !servers.is_told(node.as_ref()) => return Ok(()),
            Err(_) => {
                in_time(asking.ping::<Value>()).await?;
            }
        }
    }
}

async fn in_time<T>(call: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    timeout(LIMIT, call).await.unwrap_or_else(late)
}

/// A message is a value as the cache keeps it, and no more trusted.
fn read(message: &Msg) -> Option<(Slug, Entry)> {
    let bytes = message.get_payload_bytes();
    let slug = codec::slug_in(bytes)?;
    let entry = codec::decode(&slug, bytes).ok()?;
    Some((slug, entry))
}
