//! `curtail healthcheck`: for a container without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::store;

/// The longest that a step may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4096;

/// The arguments of `curtail healthcheck`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask whether the process runs, not whether it is ready: for an orchestrator that restarts what fails. An outage of the
    /// database passes, and no restart ends it
    #[arg(long, conflicts_with = "store")]
    live: bool,
    /// Ask the database instead of the service: for a worker, which listens on no port
    #[arg(long)]
    store: bool,
}

/// Asks the service on this machine whether it is ready or runs, or the store whether it can be worked with.
pub(super) fn healthcheck(arguments: &Arguments) -> Result<(), String> {
    let config = super::settings::load()
        .map_err(|faults| faults.to_string())?
        .config;
    if arguments.store {
        let answer = super::block_on(async { store::open(&config.store).await?.check().await })?;
        return answer.map(drop).map_err(|err| err.to_string());
    }
    let address = match config.http.address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let address = SocketAddr::new(address, config.http.port);
    let (path, state) = if arguments.live {
        ("/health/live", "live")
    } else {
        ("/health/ready", "ready")
    };
    let answer = ask(address, path).map_err(|err| format!("{address} does not answer: {err}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(format!(
        "{address} is not {state}: {}",
        answer.lines().last().unwrap_or_default()
    ))
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
