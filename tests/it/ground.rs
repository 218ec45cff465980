//! What a service under test stands on: a database of its own, and switches to cut it off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curtail::config::{self, ExposeSecret, StoreKind};
use deadpool_redis::redis;

use crate::app::Backend;
use crate::db::{self, TestDatabase};
use crate::redis_server;

/// A database for one test, and keys in Redis that no other test has.
pub struct Ground {
    url: String,
    owner_url: String,
    redis_prefix: String,
    database: Option<TestDatabase>,
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn redis_prefix() -> String {
    format!("test-{:016x}:", fastrand::u64(..))
}

impl Ground {
    /// A migrated database.
    pub fn fresh(backend: Backend) -> Self {
        let ground = match backend {
            Backend::Postgres => Self::fresh_without_schema(),
            Backend::Sqlite => Self::of(block_on(TestDatabase::sqlite())),
        };
        block_on(ground.database().migrate());
        ground
    }

    /// An empty schema in PostgreSQL.
    pub fn fresh_without_schema() -> Self {
        Self::of(block_on(TestDatabase::postgres()))
    }

    /// A database behind a switch.
    pub fn through(switch: &Switch) -> Self {
        let mut ground = Self::fresh(Backend::Postgres);
        let url = url::Url::parse(&ground.url).unwrap();
        let (old, new) = (
            format!("@{}:{}", url.host_str().unwrap(), url.port().unwrap()),
            format!("@{}", switch.address),
        );
        ground.url = ground.url.replace(&old, &new);
        ground
    }

    /// A database that nobody answers for.
    pub fn unreachable() -> Self {
        let url = "postgres://nobody@127.0.0.1:1/nothing".to_owned();
        Self {
            owner_url: url.clone(),
            url,
            redis_prefix: redis_prefix(),
            database: None,
        }
    }

    fn of(database: TestDatabase) -> Self {
        let url = |section: &config::Store| match &section.kind {
            StoreKind::Sqlite(path) => format!("sqlite:{}", path.display()),
            StoreKind::Postgres(section) => section.url.expose_secret().to_owned(),
        };
        Self {
            url: url(&database.section),
            owner_url: url(&database.owner),
            redis_prefix: redis_prefix(),
            database: Some(database),
        }
    }

    fn database(&self) -> &TestDatabase {
        self.database.as_ref().unwrap()
    }

    /// The database, as the role of the service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database, as the role that owns the tables and migrates.
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// The role of the service, for a migration; nothing where it is the owner.
    pub fn service_role(&self) -> &str {
        match &self.database().owner.kind {
            StoreKind::Postgres(section) => section.service_role.as_ref().map_or("", |role| &role.name),
            StoreKind::Sqlite(_) => "",
        }
    }

    pub fn redis_prefix(&self) -> &str {
        &self.redis_prefix
    }

    /// Runs SQL without the service.
    pub fn execute(&self, sql: &str) {
        if let StoreKind::Sqlite(path) = &self.database().section.kind {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(10)).unwrap();
            return connection.execute_batch(sql).unwrap();
        }
        block_on(async { self.database().connect().await.batch_execute(sql).await.unwrap() });
    }

    /// A number that SQL gives, without the service.
    pub fn number(&self, sql: &str) -> i64 {
        if let StoreKind::Sqlite(path) = &self.database().section.kind {
            let connection = rusqlite::Connection::open(path).unwrap();
            return connection.query_row(sql, [], |row| row.get(0)).unwrap();
        }
        block_on(async {
            self.database()
                .connect()
                .await
                .query_one(sql, &[])
                .await
                .unwrap()
                .get(0)
        })
    }

    /// Runs SQL in a transaction without the service, and commits it when `until` receives.
    pub fn hold(&self, sql: &str, until: &Receiver<()>) {
        self.hold_and_tell(sql, &channel().0, until);
    }

    /// The same; `ran` is sent to when the SQL has run.
    pub fn hold_and_tell(&self, sql: &str, ran: &Sender<()>, until: &Receiver<()>) {
        block_on(async {
            let client = self.database().connect().await;
            client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
            // Nobody may be waiting for it.
            let _ = ran.send(());
            until.recv().unwrap();
            client.batch_execute("COMMIT").await.unwrap();
        });
    }

    /// Every row of a table, as text, without the service.
    pub fn dump(&self, table: &str) -> String {
        if let StoreKind::Sqlite(path) = &self.database().section.kind {
            let connection = rusqlite::Connection::open(path).unwrap();
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            let mut text = String::new();
            while let Some(row) = rows.next().unwrap() {
                for at in 0..columns {
                    text += &format!("{:?} ", row.get_ref(at).unwrap());
                }
            }
            return text;
        }
        block_on(async {
            let client = self.database().connect().await;
            let sql = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t");
            client.query_one(&sql, &[]).await.unwrap().get(0)
        })
    }

    /// The shared cache without the service.
    pub fn redis(&self) -> Redis {
        Redis(
            redis::Client::open(redis_server::needed("TEST_REDIS_URL"))
                .unwrap()
                .get_connection()
                .unwrap(),
        )
    }
}

/// A plain connection to Redis.
pub struct Redis(redis::Connection);

impl Redis {
    pub fn get(&mut self, key: &str) -> Vec<u8> {
        redis::cmd("GET").arg(key).query(&mut self.0).unwrap()
    }

    pub fn set(&mut self, key: &str, value: &[u8]) {
        redis::cmd("SET").arg(key).arg(value).exec(&mut self.0).unwrap();
    }

    pub fn make_list(&mut self, key: &str) {
        redis::pipe()
            .cmd("DEL")
            .arg(key)
            .cmd("LPUSH")
            .arg(key)
            .arg("x")
            .exec(&mut self.0)
            .unwrap();
    }
}

/// A proxy that can be cut: connections are reset and new ones refused an answer, until it is healed.
pub struct Switch {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Switch {
    pub fn before_postgres() -> Self {
        Self::before(&db::server_url())
    }

    pub fn before_redis() -> Self {
        Self::before(&redis_server::needed("TEST_REDIS_URL"))
    }

    fn before(url: &str) -> Self {
        let url = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
            .parse()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server,
            cut: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        // The thread ends with the process: the tests are one short process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.join(client);
            }
        });
        Self { address, state }
    }

    /// The URL of Redis behind this switch.
    pub fn redis_url(&self) -> String {
        let mut url = url::Url::parse(&redis_server::needed("TEST_REDIS_URL")).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.to_string()
    }

    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn heal(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream) {
        if self.cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        let mut open = self.open.lock().unwrap();
        open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        drop(open);
        for (mut from, mut to) in [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server, client),
        ] {
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}
