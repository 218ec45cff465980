//! Encryption of connections, by the rules of libpq's `sslmode`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;
use webpki::RawPublicKeyEntity;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// Whether and how connections are encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    /// They are not.
    Off,
    /// With rustls.
    On(MakeRustlsConnect),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::On(_) => "On",
        })
    }
}

/// What a server's certificate must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: the connection is encrypted, to whomever.
    Nothing,
    /// That a trusted authority signed it.
    Chain,
    /// That a trusted authority signed it, for this host.
    ChainAndName,
}

/// Which authorities are trusted.
#[derive(Debug, Clone)]
pub(super) enum Roots {
    /// The public ones, bundled with this program.
    Public,
    /// Those of a PEM file, and no others.
    File(PathBuf),
}

impl Tls {
    /// Encryption that asks for `proof`. `direct` begins it without asking the server first.
    pub(super) fn on(proof: Proof, roots: &Roots, direct: bool) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = match roots {
            Roots::Public => RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
            Roots::File(path) => read_roots(path)?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|err| format!("cannot be used: {err}"))?;
        let builder = match proof {
            Proof::ChainAndName => builder.with_root_certificates(roots),
            Proof::Chain => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(ChainOnly { roots, provider })),
            Proof::Nothing => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(KeyOnly { provider })),
        };
        let mut config = builder.with_no_client_auth();
        if direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self::On(MakeRustlsConnect::new(config)))
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let unreadable = |err: &dyn fmt::Display| format!("names an sslrootcert that cannot be used: {err}");
    for certificate in CertificateDer::pem_file_iter(path).map_err(|err| unreadable(&err))? {
        let certificate = certificate.map_err(|err| unreadable(&err))?;
        roots.add(certificate).map_err(|err| unreadable(&err))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"no certificate in it"));
    }
    Ok(roots)
}

/// Checks who signed a certificate, but not the host's name.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Takes every certificate, whatever its form: X.509 v1 too, which OpenSSL makes by default and rustls refuses. Signatures of
/// the handshake are checked with the key in it: without that, SCRAM's channel binding (RFC 5929) would bind to a certificate
/// whose key the peer need not have.
#[derive(Debug)]
struct KeyOnly {
    provider: Arc<CryptoProvider>,
}

/// The public key of a certificate (RFC 5280, 4.1).
fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    Certificate::from_der(certificate)
        .and_then(|certificate| certificate.tbs_certificate.subject_public_key_info.to_der())
        .map(SubjectPublicKeyInfoDer::from)
        .map_err(|_| CertificateError::BadEncoding.into())
}

impl ServerCertVerifier for KeyOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    /// In TLS 1.2 a scheme does not say the curve, so each algorithm of the scheme is tried.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let algorithms = schemes
            .iter()
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        for algorithm in algorithms {
            if key
                .verify_signature(*algorithm, message, signature.signature())
                .is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
