//! The nodes of a Redis Cluster, each behind a connection and a breaker of its own, and who holds what.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::ConnectionLike;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, RedisResult, Value, cmd};
use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::runtime::Handle;
use tokio::time::{sleep_until, timeout};

use super::CALL_LIMIT;
use super::connection::{CONNECT_LIMIT, Connection, Sharing, within};
use super::reach::{Node, Reach};
use crate::telemetry::metrics::Metrics;

/// The slots that the keys of a cluster are spread over.
const SLOTS: usize = 16_384;
/// A slot that no node is known to hold.
const NOBODY: u16 = u16::MAX;
/// Milliseconds between two questions for who holds what: spread, so that many instances do not ask at once.
const REFRESH_PAUSE: std::ops::RangeInclusive<u64> = 250..=500;
/// So many nodes are asked for it one after another, over the connections that there are and over new ones.
const ASKED: usize = 3;
/// The longest that a new connection and its answer may take.
const AFRESH_LIMIT: Duration = Duration::from_millis(240);

/// A cluster. Who holds what is learnt from the nodes: at the start, when one says that a slot has moved, and for as
/// long as one of them fails.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    reach: Arc<Reach>,
    runtime: Handle,
    metrics: Arc<Metrics>,
    map: RwLock<Map>,
    refresh: Mutex<Refresh>,
}

/// A node that holds slots.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) connection: Connection,
}

struct Map {
    members: Vec<Arc<Member>>,
    /// For each slot the index of its member, or [`NOBODY`].
    owners: Vec<u16>,
    /// All nodes, replicas too.
    nodes: Vec<Node>,
}

/// When the map is asked for again.
#[derive(Default)]
struct Refresh {
    running: bool,
    next: Option<Instant>,
}

/// What a node says of who holds what: for a range of slots its primary, and then its replicas.
type Range = (usize, usize, Vec<Node>);

impl Cluster {
    /// The cluster that `seeds` belong to. Until they have said who holds what, the first of them is asked for
    /// everything, and names whom to ask instead.
    pub(super) fn open(
        reach: Arc<Reach>,
        seeds: &[Node],
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> RedisResult<Self> {
        let cluster = Self(Arc::new(Inner {
            map: RwLock::new(Map {
                members: Vec::new(),
                owners: vec![NOBODY; SLOTS],
                nodes: seeds.to_vec(),
            }),
            reach,
            runtime,
            metrics,
            refresh: Mutex::default(),
        }));
        if let Some(seed) = seeds.first() {
            let member = cluster.0.member(seed)?;
            let mut map = cluster.0.write();
            map.members.push(member);
            map.owners.fill(0);
        }
        cluster.refresh_soon();
        Ok(cluster)
    }

    /// Asks for leave to make a call about `key`.
    pub(super) fn admit(&self, key: &str, now: Instant) -> Option<Arc<Member>> {
        let owner = self.0.read().owner(slot_of(key.as_bytes()));
        let admitted = owner.filter(|member| member.connection.admits(now));
        if admitted.is_none() {
            self.refresh_soon();
        }
        admitted
    }

    /// Asks for leave to make a call that any node can answer.
    pub(super) fn admit_any(&self, now: Instant) -> Option<Arc<Member>> {
        let mut members = self.0.read().members.clone();
        fastrand::shuffle(&mut members);
        let admitted = members.into_iter().find(|member| member.connection.admits(now));
        if admitted.is_none() {
            self.refresh_soon();
        }
        admitted
    }

    /// The node that a call was sent on to, for good if its slot has `moved`.
    pub(super) fn sent_on(&self, node: &Node, moved: Option<u16>) -> RedisResult<Arc<Member>> {
        let held = self.0.read().member(node);
        let member = match held {
            Some(member) => member,
            None => self.0.member(node)?,
        };
        let mut map = self.0.write();
        // Another call may have been sent there meanwhile.
        let index = match map.members.iter().position(|held| held.node == *node) {
            Some(index) => index,
            None => {
                map.members.push(member);
                map.members.len() - 1
            }
        };
        let member = Arc::clone(&map.members[index]);
        if let (Some(slot), Ok(index)) = (moved, u16::try_from(index)) {
            if let Some(owner) = map.owners.get_mut(usize::from(slot)) {
                *owner = index;
            }
            drop(map);
            self.refresh_soon();
        }
        Ok(member)
    }

    /// Asks who holds what, soon, without anybody waiting for it. Does nothing if that is about to happen.
    pub(super) fn refresh_soon(&self) {
        let due = {
            let mut refresh = self.0.refresh.lock();
            if refresh.running {
                return;
            }
            refresh.running = true;
            refresh.next
        };
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            if let Some(due) = due {
                sleep_until(due.into()).await;
            }
            // Whatever comes of it, it is tried again.
            let _ = AssertUnwindSafe(inner.learn()).catch_unwind().await;
            let pause = Duration::from_millis(fastrand::u64(REFRESH_PAUSE));
            *inner.refresh.lock() = Refresh {
                running: false,
                next: Some(Instant::now() + pause),
            };
        });
    }

    /// Whether every node that holds slots says that the cluster serves them all.
    pub(super) async fn is_whole(&self) -> bool {
        let members = self.0.read().members.clone();
        let states = members.iter().map(|member| async {
            let info = cmd("CLUSTER")
                .arg("INFO")
                .query_async::<String>(&mut member.connection.current())
                .await;
            !member.connection.is_broken() && info.is_ok_and(|info| info.contains("cluster_state:ok"))
        });
        let whole = !members.is_empty() && join_all(states).await.into_iter().all(|ok| ok);
        if !whole {
            self.refresh_soon();
        }
        whole
    }

    /// Whether calls about some keys are refused for now.
    pub(super) fn is_broken(&self) -> bool {
        let map = self.0.read();
        map.members.iter().any(|member| member.connection.is_broken())
    }

    /// How many nodes hold slots.
    pub(super) fn width(&self) -> usize {
        self.0.read().members.len()
    }

    /// A node to listen to, and how to connect to it. Any will do: what one is told, all are.
    pub(super) fn any_node(&self) -> RedisResult<(Node, Client)> {
        // Not a seed, once the nodes are known: it may go by another name than they do.
        let mut nodes = self.0.read().nodes.clone();
        fastrand::shuffle(&mut nodes);
        let Some(node) = nodes.pop() else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
        };
        let client = self.0.reach.client_of(&node)?;
        Ok((node, client))
    }

    /// Whether the cluster still has this node.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.0.read().nodes.contains(node)
    }
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write()
    }

    fn member(&self, node: &Node) -> RedisResult<Arc<Member>> {
        let client = self.reach.client_of(node)?;
        // A connection of each thread to each node would be many.
        let (runtime, metrics) = (self.runtime.clone(), Arc::clone(&self.metrics));
        let connection = Connection::open(client, Sharing::Always, runtime, metrics)?;
        connection.prepare();
        Ok(Arc::new(Member {
            node: node.clone(),
            connection,
        }))
    }

    /// All nodes that are known, and the seeds, in any order: a cluster may have moved as a whole.
    fn candidates(&self) -> Vec<Node> {
        let mut nodes = self.read().nodes.clone();
        for seed in self.reach.seeds().unwrap_or_default() {
            if !nodes.contains(seed) {
                nodes.push(seed.clone());
            }
        }
        fastrand::shuffle(&mut nodes);
        nodes
    }

    /// Asks one node after another who holds what, those first that a connection stands to.
    async fn learn(&self) {
        let mut members = self.read().members.clone();
        members.retain(|member| !member.connection.is_broken());
        fastrand::shuffle(&mut members);
        for member in members.iter().take(ASKED) {
            let mut connection = member.connection.current();
            let asking = within(&self.runtime, ranges(&mut connection, &member.node));
            if let Ok(Some(ranges)) = timeout(CALL_LIMIT, asking).await {
                return self.take(&ranges);
            }
        }
        for node in self.candidates().iter().take(ASKED) {
            if let Ok(Some(ranges)) = timeout(AFRESH_LIMIT, self.ask_afresh(node)).await {
                return self.take(&ranges);
            }
        }
    }

    async fn ask_afresh(&self, node: &Node) -> Option<Vec<Range>> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None);
        let client = self.reach.client_of(node).ok()?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .ok()?;
        ranges(&mut connection, node).await
    }

    /// Takes what a node said for true. Nodes that were known keep their connections.
    fn take(&self, ranges: &[Range]) {
        let mut map = Map {
            members: Vec::new(),
            owners: vec![NOBODY; SLOTS],
            nodes: Vec::new(),
        };
        for (first, last, nodes) in ranges {
            for node in nodes {
                if !map.nodes.contains(node) {
                    map.nodes.push(node.clone());
                }
            }
            let Some(primary) = nodes.first() else { continue };
            let index = match map.members.iter().position(|member| member.node == *primary) {
                Some(index) => index,
                None => {
                    let held = self.read().member(primary);
                    let Some(member) = held.or_else(|| self.member(primary).ok()) else {
                        continue;
                    };
                    map.members.push(member);
                    map.members.len() - 1
                }
            };
            if let (Ok(index), Some(owners)) = (u16::try_from(index), map.owners.get_mut(*first..=*last)) {
                owners.fill(index);
            }
        }
        *self.write() = map;
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<Arc<Member>> {
        let index = *self.owners.get(usize::from(slot))?;
        self.members.get(usize::from(index)).cloned()
    }

    fn member(&self, node: &Node) -> Option<Arc<Member>> {
        self.members.iter().find(|member| member.node == *node).cloned()
    }
}

/// Asks `node` over `connection` who holds what. `None` if it does not say, or knows of no slot.
async fn ranges(connection: &mut impl ConnectionLike, node: &Node) -> Option<Vec<Range>> {
    let answer = cmd("CLUSTER").arg("SLOTS").query_async(connection).await;
    let ranges = match answer {
        Ok(Value::Array(ranges)) => ranges,
        Ok(_) => return None,
        Err(err) => {
            tracing::debug!(error = %err, "a node does not say who holds what: {err}");
            return None;
        }
    };
    let ranges: Vec<Range> = ranges
        .iter()
        .filter_map(|range| read_range(range, node))
        .collect();
    (!ranges.is_empty()).then_some(ranges)
}

fn read_range(range: &Value, asked: &Node) -> Option<Range> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
        return None;
    };
    let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
    // A primary without a name must not make way for its replica.
    read_node(nodes.first()?, asked)?;
    let nodes = nodes.iter().filter_map(|node| read_node(node, asked)).collect();
    (first <= last && last < SLOTS).then_some((first, last, nodes))
}

/// A node that does not know its own name, or is to be called by none, is where the answer came from.
fn read_node(node: &Value, asked: &Node) -> Option<Node> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => "",
    };
    let host = match host {
        "?" => return None,
        "" => &asked.host,
        host => host,
    };
    Some(Node {
        host: host.to_owned(),
        port: u16::try_from(*port).ok().filter(|port| *port > 0)?,
    })
}

/// The slot of a key: of what stands between its first braces, if anything does, else of all of it.
fn slot_of(key: &[u8]) -> u16 {
    let between = |key: &[u8]| {
        let open = key.iter().position(|&byte| byte == b'{')? + 1;
        let len = key[open..].iter().position(|&byte| byte == b'}')?;
        (len > 0).then_some(open..open + len)
    };
    let hashed = between(key).map_or(key, |range| &key[range]);
    crc16(hashed) % 16_384
}

/// CRC-16 with the polynomial 0x1021, from zero.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}
