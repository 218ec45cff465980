//! Reads the metrics of a server as Prometheus does, but oftener.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Result;

/// Time between two pages.
const PAUSE: Duration = Duration::from_secs(2);

/// A reader in a thread of its own.
pub struct Prometheus {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, String>>,
}

impl Prometheus {
    /// Begins to read from a port.
    pub fn start(port: u16) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut pages = 0;
            while !stopped.load(Ordering::Relaxed) {
                let page = page(port).map_err(|err| format!("the metrics cannot be read: {err}"))?;
                if !page.contains("curtail_redirect_duration_seconds_count") {
                    return Err(format!("these are no metrics: {page}"));
                }
                pages += 1;
                std::thread::park_timeout(PAUSE);
            }
            Ok(pages)
        });
        Self { stop, thread }
    }

    /// Ends, and answers how many pages were read.
    pub fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        Ok(self.thread.join().map_err(|_| "the reader panicked")??)
    }
}

/// The value of a family without labels.
pub fn value(port: u16, family: &str) -> Result<f64> {
    let page = page(port)?;
    page.lines()
        .find_map(|line| line.strip_prefix(family)?.trim().parse().ok())
        .ok_or_else(|| format!("the metrics have no {family}").into())
}

fn page(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
