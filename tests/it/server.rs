//! A PostgreSQL server of a test's own, to be frozen, ended and given certificates.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::db::variable;

/// A running server. It ends with this.
pub struct Server {
    directory: TempDir,
    port: u16,
}

impl Server {
    /// Starts a server without TLS.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts a server with these files in its data directory, and these settings.
    pub async fn start_with(files: &[(&str, &str)], settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        give_to_server_user(directory.path());
        // A port that was free a moment ago. The server's lock file makes a collision an error, not a mix-up.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Self { directory, port };
        run(program("initdb")
            .args(["-A", "trust", "-U", "tester", "--no-sync", "-D"])
            .arg(server.data()));
        for (name, text) in files {
            let path = server.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            give_to_server_user(&path);
        }
        fs::write(server.data().join("postgresql.auto.conf"), settings.join("\n")).unwrap();
        server.boot().await;
        server
    }

    /// Starts the server's processes.
    pub async fn boot(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off",
            self.port,
            self.directory.path().display()
        );
        let log = self.directory.path().join("log");
        run(program("pg_ctl")
            .args(["start", "-w", "-o", &options, "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(log));
    }

    /// A file of the log, if the settings turn its collector on.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.data().join("log").join(name)).unwrap()
    }

    /// The server's address, for `host`, a name that need not resolve.
    pub fn url(&self, host: &str) -> String {
        format!(
            "postgres://tester@{host}:{}/postgres?hostaddr=127.0.0.1",
            self.port
        )
    }

    /// The server's address, for a connection without the store.
    pub fn plain_url(&self) -> String {
        format!("postgres://tester@127.0.0.1:{}/postgres", self.port)
    }

    /// The address of the server's socket.
    pub fn socket_url(&self) -> String {
        format!(
            "host={} port={} user=tester dbname=postgres sslmode=verify-full",
            self.directory.path().display(),
            self.port
        )
    }

    /// The same, for a connection without the store.
    pub fn plain_socket_url(&self) -> String {
        format!(
            "host={} port={} user=tester dbname=postgres",
            self.directory.path().display(),
            self.port
        )
    }

    /// Ends every process at once, as a crash would.
    pub async fn crash(&self) {
        let postmaster = self.postmaster().unwrap();
        kill_process(postmaster, Signal::QUIT).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while test_kill_process(postmaster).is_ok() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops every process where it is: it answers nothing, and its sockets stay open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let postmaster = self.postmaster().unwrap();
        // The first of them makes the others.
        kill_process(postmaster, signal).unwrap();
        for child in children(postmaster) {
            // It may have ended meanwhile.
            let _ = kill_process(child, signal);
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster() {
            self.thaw();
            let _ = kill_process(postmaster, Signal::QUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while test_kill_process(postmaster).is_ok() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A program of PostgreSQL, run as the user who may run servers: root may not.
fn program(name: &str) -> Command {
    let directory = variable("TEST_POSTGRES_BIN")
        .expect("TEST_POSTGRES_BIN names the directory of PostgreSQL's programs: use scripts/with-servers");
    let program = Path::new(&directory).join(name);
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

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn give_to_server_user(path: &Path) {
    if let Some(user) = variable("TEST_SERVER_USER") {
        run(Command::new("chown").arg(user).arg(path));
    }
}

fn children(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
