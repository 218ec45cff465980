//! Listens, and serves an app on every connection.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, Service, ServiceFactory};
use tokio::net::{TcpSocket, TcpStream};

use super::WithoutUpgrades;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// The time in which the head of a connection's first request must arrive.
const HEAD: Duration = Duration::from_secs(5);
/// The time that a client has to close its side of a connection that is being closed.
const DISCONNECT: Duration = Duration::from_secs(1);

/// How an app is served.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// The IP address to listen on.
    pub address: IpAddr,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Seconds that requests in flight have once the listener has closed.
    pub finish_seconds: u64,
    /// Threads; `None` is one for each processor.
    pub workers: Option<usize>,
}

/// Listens and serves `app`, as [`HttpServer`](actix_web::HttpServer) does, on connections without upgrades. Answers the
/// port and what to await.
pub(in crate::http) fn serve<F, I, S, B>(serving: Serving, app: F) -> io::Result<(u16, Server)>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let address = SocketAddr::from((serving.address, serving.port));
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    let local = listener.local_addr()?;
    let mut builder = Server::build()
        .shutdown_timeout(serving.finish_seconds)
        .disable_signals();
    if let Some(workers) = serving.workers {
        builder = builder.workers(workers);
    }
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.listen("http", listener, move || {
        let stopping = stopping.clone();
        let app = app().into_factory().map_err(|err| err.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(serving.keep_alive)
            .client_request_timeout(HEAD)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(local)
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(|stream: TcpStream| async move {
            let peer = stream.peer_addr().ok();
            Ok::<_, DispatchError>((WithoutUpgrades::new(stream), Protocol::Http1, peer))
        })
        .and_then(http)
    })?;
    Ok((local.port(), builder.run()))
}
