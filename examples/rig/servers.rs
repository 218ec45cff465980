//! PostgreSQL and Redis of the rig's own, to be killed and frozen: by the ids of their processes, never by name.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::NoTls;

/// What a variable of `scripts/with-servers` is set to.
pub fn variable(name: &str) -> Option<String> {
    std::env::vars().find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

fn needed(name: &str) -> String {
    variable(name).unwrap_or_else(|| panic!("{name} is not set: use scripts/rig or scripts/with-servers"))
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A cluster of PostgreSQL.
pub struct Postgres {
    directory: TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Postgres {
    /// Makes and starts a cluster.
    pub async fn start(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        give_to_server_user(directory.path());
        let server = Self {
            directory,
            port: free_port(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        };
        let mut initdb = program("initdb");
        initdb.args([
            "-A",
            "trust",
            "-U",
            "tester",
            "--no-sync",
            "--locale=C",
            "-E",
            "UTF8",
            "-D",
        ]);
        initdb.arg(server.data());
        run(initdb).await;
        server.boot().await;
        server.answers().await;
        server.sql("postgres", "CREATE ROLE curtail LOGIN").await;
        server
    }

    /// Starts the server's processes, and does not wait until they answer.
    pub async fn boot(&self) {
        // What was acknowledged has reached the system when a process is killed; only a machine that dies needs more.
        let mut options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_preload_libraries=pg_stat_statements \
             -c max_connections=200",
            self.port,
            self.directory.path().display()
        );
        for setting in &self.settings {
            options += &format!(" -c {setting}");
        }
        let mut start = program("pg_ctl");
        start
            .args(["start", "-W", "-s", "-o", &options, "-D"])
            .arg(self.data());
        start.arg("-l").arg(self.directory.path().join("log"));
        run(start).await;
    }

    /// Waits until it answers, and says when it did.
    pub async fn answers(&self) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.try_number("postgres", "SELECT 1").await.is_none() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            sleep(Duration::from_millis(10)).await;
        }
        Instant::now()
    }

    pub fn address(&self) -> SocketAddr {
        local(self.port)
    }

    /// Kills every process at once.
    pub async fn kill(&self) {
        let postmaster = self.postmaster().unwrap();
        let children = children(postmaster);
        for process in std::iter::once(postmaster).chain(children) {
            let _ = kill_process(process, Signal::KILL);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while test_kill_process(postmaster).is_ok() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops every process where it is.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let Some(postmaster) = self.postmaster() else {
            return;
        };
        // The first of them makes the others.
        let _ = kill_process(postmaster, signal);
        for child in children(postmaster) {
            let _ = kill_process(child, signal);
        }
    }

    /// A connection of the server's owner.
    pub async fn connect(&self, database: &str) -> tokio_postgres::Client {
        self.try_connect(database).await.unwrap()
    }

    async fn try_connect(&self, database: &str) -> Option<tokio_postgres::Client> {
        let address = format!("postgres://tester@127.0.0.1:{}/{database}", self.port);
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.ok()?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Some(client)
    }

    /// Runs statements.
    pub async fn sql(&self, database: &str, statements: &str) {
        self.connect(database)
            .await
            .batch_execute(statements)
            .await
            .unwrap();
    }

    /// A number that a query gives.
    pub async fn number(&self, database: &str, query: &str) -> i64 {
        let row = self.connect(database).await.query_one(query, &[]).await.unwrap();
        row.get(0)
    }

    async fn try_number(&self, database: &str, query: &str) -> Option<i32> {
        let client = self.try_connect(database).await?;
        Some(client.query_one(query, &[]).await.ok()?.get(0))
    }

    /// The texts that a query gives.
    pub async fn texts(&self, database: &str, query: &str) -> Vec<String> {
        let rows = self.connect(database).await.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(postmaster) = self.postmaster() else {
            return;
        };
        self.thaw();
        let _ = kill_process(postmaster, Signal::QUIT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while test_kill_process(postmaster).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A Redis.
pub struct Redis {
    child: Mutex<Option<Child>>,
    folder: TempDir,
    port: u16,
    primary: Option<SocketAddr>,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts a replica of the Redis that answers at this address.
    pub async fn start_replica(primary: SocketAddr) -> Self {
        Self::start_with(Some(primary)).await
    }

    async fn start_with(primary: Option<SocketAddr>) -> Self {
        let redis = Self {
            child: Mutex::default(),
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            primary,
        };
        redis.boot().await;
        redis
    }

    /// Makes a replica a primary, with what it has.
    pub async fn promote(&self) {
        let mut redis = self.connect().await;
        redis::cmd("REPLICAOF")
            .arg(&["NO", "ONE"])
            .exec_async(&mut redis)
            .await
            .unwrap();
    }

    /// The value of a key; nothing if there is none.
    pub async fn value(&self, key: &str) -> Vec<u8> {
        let mut redis = self.connect().await;
        let value = redis::cmd("GET").arg(key).query_async(&mut redis).await;
        value.unwrap_or_default()
    }

    /// Starts it, empty, and waits until it answers.
    pub async fn boot(&self) {
        let mut command = Command::new(needed("TEST_REDIS_SERVER"));
        if let Some(primary) = self.primary {
            let (host, port) = (primary.ip().to_string(), primary.port().to_string());
            command.args(["--replicaof", &host, &port]);
        }
        let child = command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--unixsocket",
                "redis.sock",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        *self.child.lock().unwrap() = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.try_connect().await.is_none() {
            assert!(Instant::now() < deadline, "Redis does not answer");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        local(self.port)
    }

    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &*self.child.lock().unwrap() {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// A connection past every proxy.
    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        self.try_connect().await.unwrap()
    }

    async fn try_connect(&self) -> Option<redis::aio::MultiplexedConnection> {
        let socket = self.folder.path().join("redis.sock");
        let client = redis::Client::open(format!("redis+unix://{}", socket.display())).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        redis::cmd("PING").exec_async(&mut connection).await.ok()?;
        Some(connection)
    }

    /// A number of `INFO`.
    pub async fn info(&self, name: &str) -> u64 {
        let mut connection = self.connect().await;
        let text: String = redis::cmd("INFO").query_async(&mut connection).await.unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of PostgreSQL, run as the user who may run servers: root may not.
fn program(name: &str) -> Command {
    let program = Path::new(&needed("TEST_POSTGRES_BIN")).join(name);
    let mut command = match variable("TEST_SERVER_USER") {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", &user, "--"]).arg(program);
            command
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/");
    command
}

async fn run(mut command: Command) {
    let status = tokio::task::spawn_blocking(move || (command.status().unwrap(), command)).await;
    let (status, command) = status.unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

pub fn give_to_server_user(path: &Path) {
    if let Some(user) = variable("TEST_SERVER_USER") {
        let status = Command::new("chown").arg(user).arg(path).status().unwrap();
        assert!(status.success());
    }
}

fn children(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
