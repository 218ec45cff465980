//! Encrypted connections: what each `sslmode` accepts.

use std::fs;
use std::process::Command;

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
    /// A server whose certificate is X.509 v1, as `openssl x509 -req` makes it without extensions.
    async fn start_v1(key_type: &[&str], settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (key, request, certificate) = (path("key.pem"), path("request.pem"), path("v1.pem"));
        let new = [
            "req",
            "-new",
            "-nodes",
            "-subj",
            "/CN=good.test",
            "-keyout",
            &key,
            "-out",
            &request,
        ];
        openssl(&[&new[..], key_type].concat());
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-signkey",
            &key,
            "-days",
            "2",
            "-out",
            &certificate,
        ]);
        let text = fs::read_to_string(&certificate).unwrap();
        assert!(
            openssl(&["x509", "-in", &certificate, "-noout", "-text"]).contains("Version: 1 (0x0)"),
            "not the certificate that this is about"
        );
        fs::write(directory.path().join("ours.pem"), &text).unwrap();
        let files = [
            ("server.crt", text.as_str()),
            ("server.key", &fs::read_to_string(&key).unwrap()),
        ];
        Self {
            server: Server::start_with(&files, &[&["ssl = on"], settings].concat()).await,
            directory,
        }
    }

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

/// Fails unless openssl succeeds; answers its output.
fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The handshake failed for all of these: rustls refuses an X.509 v1 certificate for its form, although nothing is to be
/// proved.
#[tokio::test]
async fn a_certificate_of_the_first_version_will_do_where_psql_takes_it() {
    for key_type in [
        &["-newkey", "rsa:2048"][..],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ] {
        let server = TlsServer::start_v1(key_type, &[]).await;

        for options in ["", "&sslmode=prefer", "&sslmode=require"] {
            assert_eq!(
                server.connect("good.test", options).await,
                Ok(true),
                "{options} {key_type:?}"
            );
        }
        // Where something is to be proved, the form counts, and the message says so.
        let verified = format!("&sslmode=verify-ca&sslrootcert={}", server.pem("ours.pem"));
        let refused = server.connect("good.test", &verified).await.unwrap_err();
        assert!(refused.contains("UnsupportedCertVersion"), "{refused}");
    }
}

/// In TLS 1.2 the server signs with another scheme than in 1.3.
#[tokio::test]
async fn a_certificate_of_the_first_version_will_do_in_tls_1_2() {
    let older = ["ssl_max_protocol_version = 'TLSv1.2'"];
    let server = TlsServer::start_v1(&["-newkey", "rsa:2048"], &older).await;

    assert_eq!(server.connect("good.test", "&sslmode=require").await, Ok(true));
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
