//! TLS between the processes of a job: both sides show a certificate of the cluster's authority.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};

/// The files that a process shows and trusts, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted: the cluster's, two while it is replaced.
    pub ca: PathBuf,
    /// This process's certificate, for its host's name or address, as server and as client.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What encrypts the lanes of a process.
pub(super) struct Tls {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

impl Tls {
    pub fn read(files: &TlsFiles) -> Result<Tls, TlsError> {
        let refused = |path: &Path, reason: String| TlsError { path: path.into(), reason };
        let certificates = |path: &Path| {
            let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let all: Vec<_> = all.map_err(|error| refused(path, error.to_string()))?;
            match all.is_empty() {
                true => Err(refused(path, "expected a certificate in PEM, found none".into())),
                false => Ok(all),
            }
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.ca)? {
            roots.add(authority).map_err(|error| refused(&files.ca, error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.certificate)?;
        let key = || {
            PrivateKeyDer::from_pem_file(&files.key)
                .map_err(|error| refused(&files.key, error.to_string()))
        };
        let unfit = |error: rustls::Error| refused(&files.certificate, error.to_string());
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.build().map_err(|error| refused(&files.ca, error.to_string()))?;
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key()?)
            .map_err(unfit)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key()?)
            .map_err(unfit)?;
        // Nothing is resumed, and a lane that is only written would never read what a resumption needs.
        server.send_tls13_tickets = 0;
        Ok(Tls { client: Arc::new(client), server: Arc::new(server) })
    }
}

/// The name that the certificate at an address must be for.
pub(super) fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = host(address);
    ServerName::try_from(host.to_string()).map_err(|_| format!("`{host}` is no name of a host"))
}

fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether only this machine can be at an address.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = host(address);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What a failed handshake comes to, in words with a remedy; none where it is a matter of the network.
pub(super) fn refusal(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of another authority than those in `workers.ca_file`".into()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "its certificate is of another authority than those in `workers.ca_file`, of the same name".into()
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired)
        | rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired".into()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host".into(),
        rustls::Error::AlertReceived(alert) => {
            format!("it refuses this process's certificate ({alert:?})")
        }
        rustls::Error::InvalidMessage(_) => {
            "what is there does not speak TLS: is `workers.ca_file` set for all processes?".into()
        }
        rustls::Error::NoCertificatesPresented => "it shows no certificate".into(),
        other => other.to_string(),
    })
}
