//! The real program, as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::client::Client;

/// One instance. It is killed when this is dropped.
pub struct Instance {
    child: Child,
    pub client: Arc<Client>,
    pub began: Instant,
    warnings: Arc<Mutex<Vec<serde_json::Value>>>,
}

/// The program with these settings and no others.
pub fn command(program: &Path, settings: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null());
    command
}

impl Instance {
    /// Starts it and waits until it listens.
    pub async fn start(mut command: Command) -> Self {
        let began = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let (found, address) = tokio::sync::oneshot::channel();
        let warnings: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let kept = Arc::clone(&warnings);
        std::thread::spawn(move || {
            // The port and the warnings are all that is read of the log. The rest is taken away, or the program would
            // wait.
            let mut found = Some(found);
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|length| length > 0) {
                if found.is_some()
                    && let Some(address) = address_in(&line)
                {
                    let _ = found.take().unwrap().send(address);
                } else if let Some(warning) = warning_in(&line) {
                    kept.lock().unwrap().push(warning);
                }
                line.clear();
            }
        });
        let address = address.await.expect("the program ended before it listened");
        Self {
            child,
            client: Arc::new(Client::new(address)),
            began,
            warnings,
        }
    }

    /// How many clicks its log says are lost.
    pub fn lost_clicks(&self) -> u64 {
        let warnings = self.warnings.lock().unwrap();
        let number = |line: &serde_json::Value| line["clicks.lost"].as_u64();
        warnings.iter().filter_map(number).sum()
    }

    /// Waits until it says that it has started.
    pub async fn started(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self
            .client
            .get("/health/startup")
            .await
            .map(|answer| answer.status)
            != Ok(200)
        {
            assert!(Instant::now() < deadline, "the instance does not start");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end and answers the exit code; `None` if it takes longer than `limit` or was killed.
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let (_, rest) = line["message"].as_str()?.split_once("listens on ")?;
    rest.split(',').next()?.parse().ok()
}

fn warning_in(line: &str) -> Option<serde_json::Value> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    matches!(line["severity"].as_str()?, "WARNING" | "ERROR" | "CRITICAL").then_some(line)
}
