//! PgBouncer in transaction mode, as sites with many instances have one before the database.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::servers::{free_port, give_to_server_user, variable};

/// The pooler. It ends when this is dropped.
pub struct Pooler {
    child: Child,
    port: u16,
    /// Its configuration.
    _folder: TempDir,
}

impl Pooler {
    pub async fn before(postgres: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = folder.path().join("pgbouncer.ini");
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=curtail\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\nmax_client_conn = 200\ndefault_pool_size = 20\n",
            postgres.port()
        );
        std::fs::write(&path, configuration).unwrap();
        give_to_server_user(folder.path());
        give_to_server_user(&path);
        let mut command = match variable("TEST_SERVER_USER") {
            None => Command::new("pgbouncer"),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([
                    "--reuid",
                    &user,
                    "--regid",
                    &user,
                    "--clear-groups",
                    "--",
                    "pgbouncer",
                ]);
                command
            }
        };
        let child = command
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .arg("-q")
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer is installed: scripts/rig does it");
        let pooler = Self {
            child,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(pooler.address()).await.is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        pooler
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
