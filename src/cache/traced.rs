//! Spans round a cache, for requests that have a trace. The names are those of
//! <https://opentelemetry.io/docs/specs/semconv/db/redis/>; for a cache in the process there are none.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::{Bulletin, Cache, CacheHealth, Entry, Lookup, Put};
use crate::domain::{Rank, Slug};
use crate::telemetry::traces;

/// Which cache it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The one in the process.
    Memory,
    /// The one that all instances share.
    Redis,
}

/// A cache with spans.
#[derive(Debug)]
struct Traced {
    inner: Arc<dyn Cache>,
    layer: Layer,
}

/// Puts spans round `cache`.
#[must_use]
pub fn traced(cache: Arc<dyn Cache>, layer: Layer) -> Arc<dyn Cache> {
    Arc::new(Traced { inner: cache, layer })
}

impl Traced {
    /// `command` is what Redis is sent.
    fn span(&self, operation: &'static str, command: &'static str) -> Span {
        match self.layer {
            Layer::Memory => tracing::error_span!(
                target: traces::TARGET,
                "cache",
                otel.name = operation,
                cache.layer = "memory",
                cache.hit = Empty,
                cache.kept = Empty,
            ),
            Layer::Redis => tracing::error_span!(
                target: traces::TARGET,
                "cache",
                otel.name = command,
                otel.kind = "client",
                db.system.name = "redis",
                db.operation.name = command,
                cache.layer = "redis",
                cache.hit = Empty,
                cache.kept = Empty,
            ),
        }
    }
}

impl Cache for Traced {
    fn get<'a>(&'a self, slug: &'a Slug) -> Lookup<'a> {
        if !traces::is_current() {
            return self.inner.get(slug);
        }
        let span = self.span("memory get", "GETRANGE");
        match span.in_scope(|| self.inner.get(slug)) {
            Lookup::Ready(entry) => {
                span.record("cache.hit", entry.is_some());
                Lookup::Ready(entry)
            }
            Lookup::Pending(entry) => {
                let inside = span.clone();
                let look_up = async move {
                    let entry = entry.await;
                    inside.record("cache.hit", entry.is_some());
                    entry
                };
                Lookup::Pending(look_up.instrument(span).boxed())
            }
        }
    }

    fn put<'a>(&'a self, slug: &'a Slug, entry: &'a Entry, seen: Rank) -> BoxFuture<'a, Put> {
        if !traces::is_current() {
            return self.inner.put(slug, entry, seen);
        }
        let span = self.span("memory put", "EVALSHA");
        let put = span.in_scope(|| self.inner.put(slug, entry, seen));
        let inside = span.clone();
        async move {
            let put = put.await;
            inside.record("cache.kept", put == Put::Kept);
            put
        }
        .instrument(span)
        .boxed()
    }

    fn put_many<'a>(&'a self, entries: &'a [(Slug, Entry)]) -> BoxFuture<'a, Vec<Put>> {
        if !traces::is_current() {
            return self.inner.put_many(entries);
        }
        let span = self.span("memory put", "SET");
        let puts = span.in_scope(|| self.inner.put_many(entries));
        puts.instrument(span).boxed()
    }

    fn health(&self) -> BoxFuture<'_, CacheHealth> {
        self.inner.health()
    }

    fn invalidate<'a>(&'a self, slug: &'a Slug, version: Rank) -> BoxFuture<'a, bool> {
        self.inner.invalidate(slug, version)
    }

    fn clear(&self) {
        self.inner.clear();
    }

    fn bulletin(&self) -> Option<&dyn Bulletin> {
        self.inner.bulletin()
    }
}
