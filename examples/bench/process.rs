//! Servers under load: started on free ports, watched through /proc, ended by their own handles.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Time for a server to answer at all.
const START: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running server. It ends with its handle.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Its `DATABASE_URL`.
    pub database: String,
}

impl Server {
    /// Starts `program` with `environment` alone. `{PORT}` in an argument stands for its port.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let number = port.to_string();
        let child = Command::new(program)
            .args(
                arguments
                    .iter()
                    .map(|argument| argument.replace("{PORT}", &number)),
            )
            .env_clear()
            .env("PORT", &number)
            .env("LISTEN_ADDRESS", "127.0.0.1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|err| format!("{} cannot be started: {err}", program.display()))?;
        let database = environment
            .iter()
            .find_map(|(name, value)| (*name == "DATABASE_URL").then(|| (*value).to_owned()))
            .unwrap_or_default();
        Ok(Self {
            child,
            port,
            database,
        })
    }

    /// Waits until `path` answers with `status`.
    pub fn await_answer(&mut self, path: &str, status: &str) -> Result<()> {
        let began = Instant::now();
        while !self.answers(path, status) {
            if let Some(ended) = self.child.try_wait()? {
                return Err(format!("a server ended by itself: {ended}").into());
            }
            if began.elapsed() > START {
                return Err(format!("no {status} from {path} within {} s", START.as_secs()).into());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn answers(&self, path: &str, status: &str) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            Ok(head.ends_with(status.as_bytes()))
        };
        ask().unwrap_or(false)
    }

    /// Seconds of CPU so far, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may hold spaces: the 12th and 13th field, in hundredths.
        let behind = stat
            .rsplit_once(')')
            .ok_or("a line of /proc/PID/stat without a name")?
            .1;
        let ticks: f64 = behind
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        Ok(ticks / 100.0)
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse::<f64>().ok())
            .ok_or("no VmRSS")?;
        Ok(kib / 1024.0)
    }
}

impl Server {
    /// Sends SIGTERM, and answers the exit code and how many seconds the end took.
    pub fn stop(mut self) -> Result<(i32, f64)> {
        let began = Instant::now();
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        let status = self.child.wait()?;
        Ok((status.code().unwrap_or(-1), began.elapsed().as_secs_f64()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds from the start of a process to its first answer.
pub fn cold_start(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    path: &str,
) -> Result<f64> {
    let began = Instant::now();
    let mut server = Server::start(program, arguments, environment)?;
    server.await_answer(path, "302")?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
