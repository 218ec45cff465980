//! Where Redis is, and how to log in there.

use std::fmt;
use std::path::Path;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsCertificates,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::{self, ExposeSecret, TlsVerify};

/// One server, or the nodes that a cluster is found by.
pub(super) struct Reach {
    /// The server, or the first of those nodes.
    client: Client,
    /// Those nodes; empty for a server that stands alone.
    seeds: Vec<Node>,
}

/// A node of a cluster, by the name that the cluster gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Reach {
    /// The client's own errors may hold a part of the URL, so none of their text is passed on.
    pub(super) fn of(config: &config::Redis) -> Result<Self, String> {
        let url = config.url.expose_secret();
        let (infos, tls) = if config.cluster {
            nodes(url)?
        } else {
            let info = parsed(url)?;
            if matches!(info.addr(), ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } if host.contains(','))
            {
                return Err("REDIS_URL is not valid: several nodes are for REDIS_CLUSTER=true".to_owned());
            }
            let tls = is_tls(&info);
            (vec![info], tls)
        };
        let seeds = if config.cluster {
            infos.iter().filter_map(|info| Node::at(info.addr())).collect()
        } else {
            Vec::new()
        };
        let mut info = infos
            .into_iter()
            .next()
            .ok_or("REDIS_URL is not valid: it names no node")?;
        let login = info.redis_settings();
        if let Some(password) = &config.password
            && login.password().is_none_or(str::is_empty)
        {
            let login = login.clone().set_password(password.expose_secret());
            info = info.set_redis_settings(login);
        }
        info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match &config.ca_file {
            Some(_) if !tls => {
                return Err("REDIS_CA_FILE is for a REDIS_URL that begins with rediss:".to_owned());
            }
            Some(path) => {
                let root_cert =
                    Some(root_certificates(path).map_err(|reason| format!("REDIS_CA_FILE {reason}"))?);
                Client::build_with_tls(
                    info,
                    TlsCertificates {
                        client_tls: None,
                        root_cert,
                    },
                )
                .map_err(|_| "REDIS_CA_FILE holds a certificate that cannot be a root".to_owned())
            }
            None => Client::open(info).map_err(|_| "REDIS_URL is not valid".to_owned()),
        }?;
        let client = match config.verify {
            TlsVerify::Full => client,
            TlsVerify::Ca if config.ca_file.is_none() => {
                return Err(
                    "REDIS_TLS_VERIFY=ca needs a REDIS_CA_FILE: any public certificate would pass".to_owned(),
                );
            }
            TlsVerify::Ca => without_name(&client)?,
        };
        if tls {
            // The client asks for the process's provider and would panic without one. Another part of the process
            // may have installed the same one before.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self { client, seeds })
    }

    /// The nodes that a cluster is found by, unless it is one server.
    pub(super) fn seeds(&self) -> Option<&[Node]> {
        (!self.seeds.is_empty()).then_some(self.seeds.as_slice())
    }

    /// The server, or the first of the nodes.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A node of the cluster, with the log-in and the certificates of all.
    pub(super) fn client_of(&self, node: &Node) -> RedisResult<Client> {
        let info = self.client.get_connection_info().clone();
        let mut address = info.addr().clone();
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut address {
            host.clone_from(&node.host);
            *port = node.port;
        }
        Client::open(info.set_addr(address))
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it knows the password.
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

impl Node {
    fn at(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Some(Self {
                host: host.clone(),
                port: *port,
            }),
            _ => None,
        }
    }

    /// The node of a redirection, `host:port`. Without a host it is the one that said so, on another port.
    pub(super) fn named(text: &str, by: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self {
            host: if host.is_empty() { &by.host } else { host }.to_owned(),
            port: port.parse().ok().filter(|port| *port > 0)?,
        })
    }
}

/// The nodes of a list, separated by commas. Those behind the first may leave out what it says for all: the scheme
/// and the log-in.
fn nodes(list: &str) -> Result<(Vec<ConnectionInfo>, bool), String> {
    let not_valid = |reason: &str| Err(format!("REDIS_URL is not valid: {reason}"));
    let scheme = list.split_once("://").map_or("redis", |(scheme, _)| scheme);
    let mut infos: Vec<ConnectionInfo> = Vec::new();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let info = if item.contains("://") {
            parsed(item)?
        } else {
            parsed(&format!("{scheme}://{item}"))?
        };
        if matches!(info.addr(), ConnectionAddr::Unix(_)) {
            return not_valid("a cluster is not reached over a Unix socket");
        }
        if info.redis_settings().db() != 0 {
            return not_valid("a cluster has no databases to choose from");
        }
        if let Some(first) = infos.first() {
            let (login, of_first) = (info.redis_settings(), first.redis_settings());
            let has_login = login.username().is_some() || login.password().is_some();
            let same_login =
                (login.username(), login.password()) == (of_first.username(), of_first.password());
            if is_tls(&info) != is_tls(first) || (has_login && !same_login) {
                return not_valid("the nodes of a cluster have one log-in, and TLS either all or none");
            }
        }
        infos.push(info);
    }
    let tls = infos.first().is_some_and(is_tls);
    Ok((infos, tls))
}

fn parsed(url: &str) -> Result<ConnectionInfo, String> {
    let info = url
        .into_connection_info()
        .map_err(|_| "REDIS_URL is not valid: redis://, rediss:// or redis+unix://".to_owned())?;
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err("REDIS_URL is not valid: #insecure is refused, see REDIS_CA_FILE".to_owned())
        }
        _ => Ok(info),
    }
}

/// The same client, which takes a certificate of any host that the authority of `REDIS_CA_FILE` signed. The nodes of a
/// cluster inherit it.
fn without_name(client: &Client) -> Result<Client, String> {
    let info = client.get_connection_info().clone();
    let mut address = info.addr().clone();
    address.set_danger_accept_invalid_hostnames(true);
    Client::open(info.set_addr(address)).map_err(|_| "REDIS_URL is not valid".to_owned())
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn root_certificates(path: &Path) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|err| format!("names a file that cannot be read: {err}"))?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    // A file with none would trust nobody, and show only as a cache that never answers.
    match certificates.next() {
        Some(Ok(_)) => Ok(pem),
        Some(Err(_)) | None => Err("names a file without a PEM certificate".to_owned()),
    }
}
