//! Encrypted connections: what each `sslmode` accepts.

use std::fs;

use curtail::config::{self, StoreKind};
use curtail::store::{self, StoreError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::db::{connect, postgres_at};
use crate::server::Server;

/// A server whose certificate is for `good.test`, the authority that signed it, and one that did not.
struct TlsServer {
    server: Server,
    directory: TempDir,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl TlsServer {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (authority("ours"), authority("other"));
        fs::write(directory.path().join("ours.pem"), ours.pem()).unwrap();
        fs::write(directory.path().join("other.pem"), other.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["good.test".to_owned()])
            .unwrap()
            .signed_by(&key, &ours)
            .unwrap();
        let files = [
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Self {
            server: Server::start_with(&files, &["ssl = on"]).await,
            directory,
        }
    }

    fn pem(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Whether a connection was encrypted, or why there was none.
    async fn connect(&self, host: &str, options: &str) -> Result<bool, String> {
        let name = format!("tls_{:016x}", fastrand::u64(..));
        let url = format!("{}&application_name={name}{options}", self.server.url(host));
        let section = config::Store {
            kind: StoreKind::Postgres(postgres_at(&url)),
            migrate_on_start: false,
        };
        let store = store::open(&section).await.unwrap();
        match store.check().await {
            // There are no tables, so the server did answer.
            Err(StoreError::Schema { .. }) => {}
            other => return Err(format!("{other:?}")),
        }
        let sql = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
        let admin = connect(&self.server.url("db")).await;
        let encrypted = admin.query_one(sql, &[&name]).await.unwrap().get(0);
        store.close().await;
        Ok(encrypted)
    }
}

#[tokio::test]
async fn each_mode_asks_for_its_proof() {
    let server = TlsServer::start().await;
    let (ours, other) = (server.pem("ours.pem"), server.pem("other.pem"));

    for (host, options) in [
        ("bad.test", String::new()),
        ("bad.test", "&sslmode=require".to_owned()),
        ("bad.test", format!("&sslmode=require&sslrootcert={ours}")),
        ("bad.test", format!("&sslmode=verify-ca&sslrootcert={ours}")),
        ("good.test", format!("&sslmode=verify-full&sslrootcert={ours}")),
    ] {
        assert_eq!(server.connect(host, &options).await, Ok(true), "{host} {options}");
    }
    assert_eq!(server.connect("bad.test", "&sslmode=disable").await, Ok(false));

    for (host, options, reason) in [
        (
            "bad.test",
            format!("&sslmode=verify-full&sslrootcert={ours}"),
            "not valid for name",
        ),
        (
            "good.test",
            format!("&sslmode=verify-full&sslrootcert={other}"),
            "UnknownIssuer",
        ),
        (
            "good.test",
            format!("&sslmode=verify-ca&sslrootcert={other}"),
            "UnknownIssuer",
        ),
        (
            "good.test",
            format!("&sslmode=require&sslrootcert={other}"),
            "UnknownIssuer",
        ),
        ("good.test", "&sslmode=verify-full".to_owned(), "UnknownIssuer"),
    ] {
        let refused = server.connect(host, &options).await.unwrap_err();
        assert!(refused.contains(reason), "{host} {options}: {refused}");
    }
}

#[tokio::test]
async fn without_tls_on_the_server_prefer_goes_on_and_require_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = TlsServer {
        server: Server::start().await,
        directory,
    };

    assert_eq!(server.connect("db", "").await, Ok(false));
    assert!(server.connect("db", "&sslmode=require").await.is_err());
}
