//! Owns the encryption of an engine's TCP address: certificates from PEM files into a connector.
//! Never goes without the check of the engine's certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::runtime::Error;
use crate::runtime::endpoint::TlsFiles;

/// A connector that trusts the authority in the files, and shows our certificate where there is one.
///
/// # Errors
/// [`Error::Refused`] with the file that cannot be used.
pub(super) fn connector(files: &TlsFiles) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| unusable(&files.ca, &error))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Refused(format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots);
    let config = match &files.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            builder.with_client_auth_cert(certificates(cert)?, secret).map_err(|error| unusable(cert, &error))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the engine's certificate must carry.
pub(super) fn server_name(host: String) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!("the certificate file {} cannot be used: {error}", path.display()))
}
