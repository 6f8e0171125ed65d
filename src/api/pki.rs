//! Owns the files by which clients trust the server and the server its clients, under `<data>/pki`:
//!
//! ```text
//!  ca.crt  ca.key        the local authority, made once and used while it is valid
//!  server.crt server.key a certificate of ours, made anew at each start
//!  token                 256 random bits, made once
//!  sa.key                signs service account tokens, made once
//!  url                   where the server was last reached, for kubeconfigs
//! ```
//!
//! All are readable by their owner alone. Never listens: see `serve`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::caller::{ADMIN, Caller, MASTERS};

/// How long the authority is valid; it is replaced when less than [`CA_RESERVE`] is left.
const CA_VALID: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);
/// See [`CA_VALID`].
const CA_RESERVE: SignedDuration = SignedDuration::from_hours(24 * 365);
/// How long a server's certificate is valid: longer than any process should run, shorter than clients object to.
const SERVER_VALID: SignedDuration = SignedDuration::from_hours(24 * 397);
/// How long a client's certificate is valid: a year, as upstream's kubeadm gives administrators.
const CLIENT_VALID: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Certificates are valid from a little before now: clocks of containers and of other machines differ.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);
/// Names by which a server on this machine is reached, by itself, from pods and from containers.
const NAMES: [&str; 6] = [
    "localhost",
    "host.docker.internal",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// Line before the authority's certificate that tells when it ends; readers of PEM skip it.
const ENDS: &str = "# not after: ";

/// Why keys and certificates are not to be had: the daemon cannot serve TCP.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate could not be made, or a file does not hold what it should.
    #[error("certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refuses them.
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// No server has ever served TCP on this data directory.
    #[error("no server has listened on this data directory yet: {0} is missing")]
    NeverServed(PathBuf),
}

/// Keys, certificate and token of one server.
pub struct Pki {
    /// What the TLS listener needs.
    pub tls: Arc<ServerConfig>,
    /// The token that callers must bear.
    pub token: String,
    /// Names and addresses in the certificate: those under which the server may be addressed.
    pub hosts: Vec<String>,
}

impl Pki {
    /// Reads what is there and makes what is missing, for a server that listens on `addresses`.
    pub fn open(data_dir: &Path, addresses: &[IpAddr], now: Timestamp) -> Result<Self, Error> {
        let dir = directory(data_dir)?;
        let authority = Authority::open(&dir, now)?;
        let hosts = hosts(addresses);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.clone())?;
        params.distinguished_name = name("jobdock");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        set_validity(&mut params, now, SERVER_VALID);
        let certificate = params.signed_by(&key, &authority.issuer)?;
        write(&dir.join("server.crt"), &certificate.pem())?;
        write(&dir.join("server.key"), &key.serialize_pem())?;
        let clients = clients(&dir)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls), token: token(&dir)?, hosts })
    }
}

/// Asks clients for a certificate of our authority; those that have none are asked for a token.
fn clients(dir: &Path) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let path = dir.join("ca.crt");
    let text = read(&path)?.ok_or(Error::NeverServed(path))?;
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| Error::Tls(tokio_rustls::rustls::Error::General(error.to_string())))?;
    roots.add(authority)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::Tls(tokio_rustls::rustls::Error::General(error.to_string())))
}

/// The key that signs service account tokens, as PEM; made where there is none yet.
pub fn account_key(data_dir: &Path) -> Result<String, Error> {
    let path = directory(data_dir)?.join("sa.key");
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = KeyPair::generate()?.serialize_pem();
    write(&path, &key)?;
    Ok(key)
}

/// The user whom a client's certificate names: its common name, its organisations as groups.
/// Parity: upstream's `CommonNameUserConversion`.
pub fn caller(certificate: &[u8]) -> Option<Caller> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    (!name.is_empty()).then(|| Caller::known(&name, groups))
}

/// Notes where the server can be reached.
pub fn remember_url(data_dir: &Path, url: &str) -> Result<(), Error> {
    write(&directory(data_dir)?.join("url"), url)
}

/// A kubeconfig for the server that last listened on this data directory: address, authority, token.
pub fn kubeconfig(data_dir: &Path) -> Result<String, Error> {
    let path = data_dir.join("pki").join("token");
    let token = read(&path)?.ok_or(Error::NeverServed(path))?;
    kubeconfig_of(data_dir, &format!("token: {}", token.trim()))
}

/// [`kubeconfig`] with a certificate of the administrator's, made now, in the token's place.
pub fn certificate_kubeconfig(data_dir: &Path, now: Timestamp) -> Result<String, Error> {
    let dir = data_dir.join("pki");
    if !dir.join("url").exists() {
        return Err(Error::NeverServed(dir.join("url")));
    }
    let authority = Authority::open(&dir, now)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = name(ADMIN);
    params.distinguished_name.push(DnType::OrganizationName, MASTERS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now, CLIENT_VALID);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority.issuer)?;
    let (certificate, key) = (STANDARD.encode(certificate.pem()), STANDARD.encode(key.serialize_pem()));
    kubeconfig_of(data_dir, &format!("client-certificate-data: {certificate}\n    client-key-data: {key}"))
}

fn kubeconfig_of(data_dir: &Path, credentials: &str) -> Result<String, Error> {
    let dir = data_dir.join("pki");
    let url = read(&dir.join("url"))?.ok_or_else(|| Error::NeverServed(dir.join("url")))?;
    let ca = read(&dir.join("ca.crt"))?.ok_or_else(|| Error::NeverServed(dir.join("ca.crt")))?;
    Ok(format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: jobdock\n  cluster:\n    server: {url}\n    \
         certificate-authority-data: {}\nusers:\n- name: jobdock\n  user:\n    {credentials}\ncontexts:\n- name: \
         jobdock\n  context:\n    cluster: jobdock\n    user: jobdock\n    namespace: default\ncurrent-context: \
         jobdock\n",
        STANDARD.encode(bare(&ca)),
    ))
}

/// The authority's certificate, as PEM; made where there is none yet.
pub fn authority(data_dir: &Path, now: Timestamp) -> Result<String, Error> {
    let dir = directory(data_dir)?;
    Authority::open(&dir, now)?;
    let text = read(&dir.join("ca.crt"))?.ok_or_else(|| Error::NeverServed(dir.join("ca.crt")))?;
    Ok(bare(&text).to_owned())
}

/// A certificate without the lines before it.
fn bare(text: &str) -> &str {
    text.find("-----BEGIN").map_or(text, |start| &text[start..])
}

/// The authority that signs servers.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(dir: &Path, now: Timestamp) -> Result<Self, Error> {
        let (certificate, key) = (read(&dir.join("ca.crt"))?, read(&dir.join("ca.key"))?);
        if let (Some(certificate), Some(key)) = (certificate, key) {
            let ends = certificate.lines().find_map(|line| line.strip_prefix(ENDS)).and_then(|end| end.parse().ok());
            if ends.is_some_and(|ends: Timestamp| ends > now + CA_RESERVE) {
                // The same name and key make the same issuer, whatever else stood in its certificate.
                return Ok(Self { issuer: Issuer::new(authority_params(now)?, KeyPair::from_pem(&key)?) });
            }
        }
        let (key, params) = (KeyPair::generate()?, authority_params(now)?);
        let certificate = params.self_signed(&key)?;
        write(&dir.join("ca.key"), &key.serialize_pem())?;
        write(&dir.join("ca.crt"), &format!("{ENDS}{}\n{}", now + CA_VALID, certificate.pem()))?;
        Ok(Self { issuer: Issuer::new(params, key) })
    }
}

fn authority_params(now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = name("jobdock local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_VALID);
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// From a little before `now`, in whole days.
fn set_validity(params: &mut CertificateParams, now: Timestamp, length: SignedDuration) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
        date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = day(now - CLOCK_SKEW);
    params.not_after = day(now + length);
}

fn hosts(addresses: &[IpAddr]) -> Vec<String> {
    let mut hosts: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for local in loopback.iter().chain(addresses).filter(|address| !address.is_unspecified()) {
        let local = local.to_string();
        if !hosts.contains(&local) {
            hosts.push(local);
        }
    }
    hosts
}

fn token(dir: &Path) -> Result<String, Error> {
    let path = dir.join("token");
    if let Some(token) = read(&path)?.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    let mut bits = [0; 32];
    rand::rng().fill_bytes(&mut bits);
    let token: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    write(&path, &token)?;
    Ok(token)
}

fn directory(data_dir: &Path) -> Result<PathBuf, Error> {
    let path = data_dir.join("pki");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|source| Error::File { path: path.clone(), source })?;
    Ok(path)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}

/// Writes a file of mode 0600, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let fail = |source| Error::File { path: path.to_owned(), source };
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&draft, path).map_err(fail)
}
