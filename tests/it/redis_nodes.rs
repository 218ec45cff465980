//! A Redis Cluster of one test's own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Cmd, FromRedisValue, Value, cmd};
use futures_util::future::join_all;

use crate::redis_server::{Server, free_port};

/// The servers end with it.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

/// The slots of the first, second and third primary.
const THIRDS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

impl Cluster {
    /// Three primaries that nobody takes the place of. What they hold is served whatever becomes of the others.
    pub async fn of_primaries() -> Self {
        let cluster = Self::start(
            3,
            &[
                "--cluster-node-timeout",
                "15000",
                "--cluster-require-full-coverage",
                "no",
            ],
        )
        .await;
        cluster.agrees().await;
        cluster
    }

    /// Three primaries and a replica of each, the fourth of the first and so on.
    pub async fn with_replicas() -> Self {
        let cluster = Self::start(
            6,
            &[
                "--cluster-node-timeout",
                "1000",
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ],
        )
        .await;
        // Every node has heard of every other.
        for node in &cluster.nodes {
            eventually("the nodes know each other", async || {
                info(node, "CLUSTER").await["cluster_known_nodes"] == "6"
            })
            .await;
        }
        for (primary, replica) in (0..3).zip(3..6) {
            let id: String = cluster.ask(primary, cmd("CLUSTER").arg("MYID")).await;
            eventually("a replica knows its primary", async || {
                let mut admin = cluster.nodes[replica].admin().await;
                let asked = cmd("CLUSTER")
                    .arg("REPLICATE")
                    .arg(&id)
                    .exec_async(&mut admin)
                    .await;
                asked.is_ok()
            })
            .await;
        }
        for replica in 3..6 {
            eventually("a replica has what its primary has", async || {
                info(&cluster.nodes[replica], "REPLICATION").await["master_link_status"] == "up"
            })
            .await;
        }
        cluster.agrees().await;
        cluster
    }

    async fn start(number: usize, more: &[&str]) -> Self {
        let nodes = join_all((0..number).map(|_| async {
            let port = free_port().to_string();
            let arguments = [&["--cluster-enabled", "yes", "--cluster-port", &port], more].concat();
            (Server::start(&arguments).await, port)
        }));
        let (nodes, ports): (Vec<_>, Vec<_>) = nodes.await.into_iter().unzip();
        let cluster = Self { nodes };
        for (node, (first, last)) in THIRDS.iter().enumerate() {
            cluster
                .run(node, cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(node + 1))
                .await;
            cluster
                .run(node, cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last))
                .await;
        }
        // Each meets each: word of a third one would take its time.
        for node in 1..number {
            for (other, port) in cluster.nodes.iter().zip(&ports).take(node) {
                let mut meet = cmd("CLUSTER");
                meet.arg("MEET").arg("127.0.0.1").arg(other.port());
                cluster.run(node, meet.arg(port)).await;
            }
        }
        cluster
    }

    /// Waits until every node that runs says that the cluster serves, and all say the same of who holds what.
    pub async fn agrees(&self) {
        eventually("the nodes agree", async || {
            let mut views = Vec::new();
            for node in 0..self.nodes.len() {
                if info(&self.nodes[node], "CLUSTER").await["cluster_state"] != "ok" {
                    return false;
                }
                let slots: Vec<(u16, u16, (String, u16))> = self.slots(node).await;
                views.push(slots);
            }
            views[0].len() >= 3 && views.iter().all(|view| *view == views[0])
        })
        .await;
    }

    /// Each range of slots with its primary, as a node sees it.
    async fn slots(&self, node: usize) -> Vec<(u16, u16, (String, u16))> {
        let ranges: Vec<Vec<Value>> = self.ask(node, cmd("CLUSTER").arg("SLOTS")).await;
        let mut slots: Vec<_> = ranges
            .iter()
            .map(|range| {
                let number = |at: usize| u16::from_redis_value_ref(&range[at]).unwrap();
                let primary = Vec::<Value>::from_redis_value_ref(&range[2]).unwrap();
                let address = (
                    String::from_redis_value_ref(&primary[0]).unwrap(),
                    u16::from_redis_value_ref(&primary[1]).unwrap(),
                );
                (number(0), number(1), address)
            })
            .collect();
        slots.sort();
        slots
    }

    /// The primary that holds `key` where nothing has moved yet.
    pub async fn primary_of(&self, key: &str) -> usize {
        let slot = self.slot_of(key).await;
        THIRDS
            .iter()
            .position(|(first, last)| (*first..=*last).contains(&slot))
            .unwrap()
    }

    pub async fn slot_of(&self, key: &str) -> u16 {
        let node = self.nodes.iter().position(Server::runs).unwrap();
        self.ask(node, cmd("CLUSTER").arg("KEYSLOT").arg(key)).await
    }

    pub async fn is_primary(&self, node: usize) -> bool {
        info(&self.nodes[node], "REPLICATION").await["role"] == "master"
    }

    pub async fn run(&self, node: usize, command: &Cmd) {
        self.ask::<()>(node, command).await;
    }

    pub async fn ask<T: FromRedisValue>(&self, node: usize, command: &Cmd) -> T {
        let mut admin: MultiplexedConnection = self.nodes[node].admin().await;
        command.query_async(&mut admin).await.unwrap()
    }

    /// The node that listens to a channel for somebody, if there is one.
    pub async fn listener(&self, channel: &str) -> Option<usize> {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].runs() {
                continue;
            }
            let (_, listeners): (String, usize) =
                self.ask(node, cmd("PUBSUB").arg("NUMSUB").arg(channel)).await;
            if listeners > 0 {
                return Some(node);
            }
        }
        None
    }

    /// How often a node sent somebody on to another one.
    pub async fn redirections(&self) -> u64 {
        let mut number = 0;
        for node in &self.nodes {
            let errors = info(node, "ERRORSTATS").await;
            for kind in ["errorstat_MOVED", "errorstat_ASK"] {
                if let Some(count) = errors.get(kind) {
                    number += count.strip_prefix("count=").unwrap().parse::<u64>().unwrap();
                }
            }
        }
        number
    }

    /// What leads to it: nodes by their addresses, separated by commas.
    pub fn url(&self, nodes: &[usize]) -> String {
        let urls: Vec<String> = nodes.iter().map(|&node| self.nodes[node].url()).collect();
        urls.join(",")
    }
}

/// What a node says of itself, by the name of the section; of its cluster for `CLUSTER`.
async fn info(node: &Server, section: &str) -> BTreeMap<String, String> {
    let mut admin = node.admin().await;
    let mut command = if section == "CLUSTER" {
        cmd("CLUSTER")
    } else {
        cmd("INFO")
    };
    let text: String = command
        .arg(if section == "CLUSTER" { "INFO" } else { section })
        .query_async(&mut admin)
        .await
        .unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Waits until something is so.
pub async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
