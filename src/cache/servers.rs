//! Redis, be it one server or a cluster: who is asked, and for how long.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use deadpool_redis::redis::aio::ConnectionLike;
use deadpool_redis::redis::{Client, Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::CALL_LIMIT;
use super::cluster::{Cluster, Member};
use super::connection::{Connection, Line, Sharing, within};
use super::reach::{Node, Reach};
use crate::telemetry::metrics::{BREAKER_OPEN, Metrics, REDIS_NODES};

/// So often a call is sent on to another node.
const HOPS: usize = 3;

/// Runs calls within [`CALL_LIMIT`], none on a server whose breaker is open.
pub(super) struct Servers(Arc<Inner>);

struct Inner {
    kind: Kind,
    reach: Arc<Reach>,
    runtime: Handle,
    metrics: Arc<Metrics>,
}

enum Kind {
    One(Connection),
    Cluster(Cluster),
}

/// What the servers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Links,
    Budgets,
}

impl Purpose {
    /// What their figures are called by.
    fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Budgets => "budgets",
        }
    }

    /// Redirects ask for links, thousands of times a second; budgets are asked for by what is rare.
    fn sharing(self) -> Sharing {
        match self {
            Self::Links => Sharing::WithinThread,
            Self::Budgets => Sharing::Always,
        }
    }
}

/// Leave to make one call.
pub(super) struct Leave {
    began: Instant,
    /// Whom to ask, in a cluster.
    member: Option<Arc<Member>>,
}

impl Servers {
    /// Servers whose tasks live on `runtime`. Does not wait for them.
    pub(super) fn open(
        reach: Reach,
        purpose: Purpose,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> RedisResult<Self> {
        let reach = Arc::new(reach);
        let kind = match reach.seeds() {
            None => {
                let client = reach.client().clone();
                let (runtime, metrics) = (runtime.clone(), Arc::clone(&metrics));
                let connection = Connection::open(client, purpose.sharing(), runtime, metrics)?;
                if purpose == Purpose::Links {
                    connection.prepare();
                }
                Kind::One(connection)
            }
            Some(seeds) => Kind::Cluster(Cluster::open(
                Arc::clone(&reach),
                seeds,
                runtime.clone(),
                Arc::clone(&metrics),
            )?),
        };
        let inner = Arc::new(Inner {
            kind,
            reach,
            runtime,
            metrics,
        });
        let watched = Arc::downgrade(&inner);
        inner.metrics.watch(&BREAKER_OPEN, purpose.name(), move || {
            let broken = match &watched.upgrade()?.kind {
                Kind::One(connection) => connection.is_broken(),
                Kind::Cluster(cluster) => cluster.is_broken(),
            };
            Some(f64::from(u8::from(broken)))
        });
        let watched = Arc::downgrade(&inner);
        inner.metrics.watch(&REDIS_NODES, purpose.name(), move || {
            let nodes = match &watched.upgrade()?.kind {
                Kind::One(_) => 1,
                Kind::Cluster(cluster) => cluster.width(),
            };
            Some(f64::from(u16::try_from(nodes).unwrap_or(u16::MAX)))
        });
        Ok(Self(inner))
    }

    /// Asks for leave to make a call about `key`, and no other key. `None` is counted as refused.
    pub(super) fn admit(&self, key: &str) -> Option<Leave> {
        self.leave(|cluster, now| cluster.admit(key, now))
    }

    /// Asks for leave to make a call about no key. `None` is counted as refused.
    pub(super) fn admit_any(&self) -> Option<Leave> {
        self.leave(Cluster::admit_any)
    }

    fn leave(&self, of: impl FnOnce(&Cluster, Instant) -> Option<Arc<Member>>) -> Option<Leave> {
        let began = Instant::now();
        let leave = match &self.0.kind {
            Kind::One(connection) => connection.admits(began).then_some(Leave { began, member: None }),
            Kind::Cluster(cluster) => of(cluster, began).map(|member| Leave {
                began,
                member: Some(member),
            }),
        };
        if leave.is_none() {
            self.0.metrics.shared_cache.refused.add_one();
        }
        leave
    }

    /// Makes a call. `None` is a failure: counted, and told to the breaker of whoever was asked last.
    pub(super) async fn call<T, F>(&self, leave: Leave, call: impl FnOnce(Asked) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        // The limit's timer is on the caller's own runtime: it holds even if the other one is stuck.
        let in_time = |asked| timeout(CALL_LIMIT, within(&self.0.runtime, call(asked)));
        match (&self.0.kind, leave.member) {
            (Kind::One(connection), _) => {
                let asked = Asked {
                    line: connection.current(),
                    way: None,
                };
                connection.judge(leave.began, in_time(asked).await)
            }
            (Kind::Cluster(cluster), Some(member)) => {
                let way = Way {
                    cluster: cluster.clone(),
                    last: Arc::new(Mutex::new(Arc::clone(&member))),
                    asking: false,
                };
                let last = Arc::clone(&way.last);
                let asked = Asked {
                    line: member.connection.current(),
                    way: Some(way),
                };
                let outcome = in_time(asked).await;
                let last = Arc::clone(&last.lock());
                let answer = last.connection.judge(leave.began, outcome);
                if answer.is_none() {
                    cluster.refresh_soon();
                }
                answer
            }
            (Kind::Cluster(_), None) => None,
        }
    }

    /// The cluster, if it is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.0.kind {
            Kind::One(_) => None,
            Kind::Cluster(cluster) => Some(cluster),
        }
    }

    /// A server to listen to, and its name in a cluster.
    pub(super) fn to_listen_to(&self) -> RedisResult<(Option<Node>, Client)> {
        match &self.0.kind {
            Kind::One(_) => Ok((None, self.0.reach.client().clone())),
            Kind::Cluster(cluster) => {
                let (node, client) = cluster.any_node()?;
                Ok((Some(node), client))
            }
        }
    }

    /// Whether what is told is still heard from this server: a node that left its cluster hears nothing any more.
    pub(super) fn is_told(&self, node: Option<&Node>) -> bool {
        match (&self.0.kind, node) {
            (Kind::Cluster(cluster), Some(node)) => cluster.has(node),
            _ => true,
        }
    }

    /// Tells that a server could not be listened to.
    pub(super) fn was_deaf(&self) {
        if let Kind::Cluster(cluster) = &self.0.kind {
            cluster.refresh_soon();
        }
    }

    /// Runs `future` in the context of the runtime that the connections live on.
    pub(super) async fn within_runtime<F: Future>(&self, future: F) -> F::Output {
        within(&self.0.runtime, future).await
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what leads there: it knows the password.
        let nodes = match &self.0.kind {
            Kind::One(_) => 1,
            Kind::Cluster(cluster) => cluster.width(),
        };
        f.debug_struct("Servers")
            .field("nodes", &nodes)
            .finish_non_exhaustive()
    }
}

/// Whom a call's commands go to. In a cluster they go where a node sends them on to.
pub(super) struct Asked {
    line: Line,
    way: Option<Way>,
}

/// The way of one call through a cluster.
struct Way {
    cluster: Cluster,
    /// Who was asked last. The caller looks when the call has ended, in time or not.
    last: Arc<Mutex<Arc<Member>>>,
    /// The slot is on its way to this node, which answers only who says that he was sent.
    asking: bool,
}

impl ConnectionLike for Asked {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        if self.way.is_none() {
            self.line.req_packed_command(cmd)
        } else {
            self.follow(cmd).boxed()
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.line.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.line.get_db()
    }
}

impl Asked {
    async fn follow(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let mut hops = 0;
        loop {
            let err = match self.ask(cmd).await {
                Ok(Value::ServerError(err)) => err.into(),
                Ok(value) => return Ok(value),
                Err(err) => err,
            };
            hops += 1;
            let (Some((address, slot)), Some(way)) = (err.redirect_node(), &mut self.way) else {
                return Err(err);
            };
            let by = Arc::clone(&way.last.lock());
            let Some(node) = Node::named(address, &by.node).filter(|_| hops <= HOPS) else {
                return Err(err);
            };
            way.asking = err.code() == Some("ASK");
            let member = way.cluster.sent_on(&node, (!way.asking).then_some(slot))?;
            self.line = member.connection.current();
            // A script that is missing there is loaded there, so the rest of the call goes there too.
            *way.last.lock() = member;
        }
    }

    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        if !self.way.as_ref().is_some_and(|way| way.asking) {
            return self.line.req_packed_command(command).await;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(cmd("ASKING")).add_command(command.clone());
        let mut answers = self.line.req_packed_commands(&pipeline, 0, 2).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }
}
