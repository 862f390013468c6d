//! The certificates that processes know each other by, and the job's token.
//!
//! A folder beside the cluster file has the authority (`ca.pem`, `ca.key`), one certificate a host
//! (`hosts/NAME.pem`, `hosts/NAME.key`) and the token. An authority that was replaced stays behind the new
//! one in `ca.pem` until the next rotation: processes that still have certificates of it are trusted.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;

use crate::clock;
use crate::cluster_file::Host;
use crate::whole;
use crate::wire::CertFiles;

/// Days that a host's certificate is good for.
const LEAF_DAYS: i64 = 365;
/// Days that an authority is good for.
const CA_DAYS: i64 = 3_650;
/// Hosts' clocks may be behind this machine's by so much.
const BEFORE: Duration = Duration::hours(1);
/// Days before its end from which a certificate is worth a warning, and `make` makes another.
pub const SOON_DAYS: i64 = 30;

/// Certificates that cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file or folder refuses.
    #[error("certificates: `{path}`: {source}")]
    File {
        /// It.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// One cannot be made.
    #[error("making the certificate of {of}: {source}")]
    Make {
        /// Whose.
        of: String,
        /// The library's words.
        source: rcgen::Error,
    },
    /// A file holds something else.
    #[error("`{path}` holds no certificate: {why}")]
    Form {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
}

/// A certificate, as people look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub file: PathBuf,
    /// Whose it is.
    pub subject: String,
    /// Names and addresses that it holds for.
    pub names: Vec<String>,
    /// Its end, in milliseconds since 1970.
    pub until_ms: i64,
    /// Its public key, as DER.
    pub key: Vec<u8>,
    /// The identifier of its key, of an authority.
    pub key_id: Option<Vec<u8>>,
    /// That of the key which signed it.
    pub signed_by: Option<Vec<u8>>,
}

impl Shown {
    /// Days until its end.
    pub fn days_left(&self) -> i64 {
        (self.until_ms - clock::now_ms()).div_euclid(86_400_000)
    }
}

/// A folder of certificates.
#[derive(Clone, Debug)]
pub struct Certs {
    folder: PathBuf,
}

impl Certs {
    /// The certificates in a folder, which need not be there yet.
    pub fn at(folder: &Path) -> Certs {
        Certs { folder: folder.into() }
    }

    /// Makes what is missing for these hosts: says what.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn make(&self, job: &str, hosts: &[Host]) -> Result<Vec<String>, CertError> {
        let mut made = self.make_token()?;
        if self.pair("ca.pem", "ca.key")?.is_none() {
            made.push(self.new_authority(job)?);
        }
        for host in hosts {
            if !self.holds_for(host)? {
                made.push(self.new_leaf(host)?);
            }
        }
        Ok(made)
    }

    /// Makes new certificates for all hosts, with a new authority if asked for: says what.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn rotate(&self, job: &str, hosts: &[Host], ca: bool) -> Result<Vec<String>, CertError> {
        let mut made = self.make_token()?;
        if ca || self.pair("ca.pem", "ca.key")?.is_none() {
            made.push(self.new_authority(job)?);
        } else {
            // The one before: all certificates of it are replaced here.
            let bundle = self.read("ca.pem")?;
            self.write("ca.pem", &(first(&bundle).to_owned() + "\n"))?;
        }
        for host in hosts {
            made.push(self.new_leaf(host)?);
        }
        Ok(made)
    }

    /// Makes the token alone, if it is missing: enough for hosts that are all this machine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make_token(&self) -> Result<Vec<String>, CertError> {
        let path = self.path("token");
        if path.exists() {
            return Ok(Vec::new());
        }
        let mut bytes = [0; 32];
        let source = Path::new("/dev/urandom");
        let random = fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
        random.map_err(|e| failed(source, e))?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.write("token", &token)?;
        Ok(vec![format!("the job's token in `{}`", path.display())])
    }

    /// The job's token.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn token(&self) -> Result<String, CertError> {
        self.read("token").map(|text| text.trim().to_owned())
    }

    /// What a host's process needs.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(&self, host: &Host) -> Result<CertFiles, CertError> {
        let [certificate, key] = leaf(host);
        Ok(CertFiles {
            ca: self.read("ca.pem")?,
            certificate: self.read(&certificate)?,
            key: self.read(&key)?,
        })
    }

    /// All certificates, the authorities first.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn show(&self) -> Result<Vec<Shown>, CertError> {
        let mut shown = self.parsed("ca.pem")?;
        let folder = self.path("hosts");
        let mut names: Vec<_> = folder
            .read_dir()
            .map_err(|e| failed(&folder, e))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".pem"))
            .collect();
        names.sort();
        for name in names {
            shown.extend(self.parsed(&format!("hosts/{name}"))?);
        }
        Ok(shown)
    }

    /// Whether there is a certificate for a host under its name and address, which does not end soon.
    fn holds_for(&self, host: &Host) -> Result<bool, CertError> {
        let [certificate, key] = leaf(host);
        let trusted = self.parsed("ca.pem")?;
        Ok(self.pair(&certificate, &key)?.is_some_and(|leaf| {
            let named = names(host).iter().all(|name| leaf.names.contains(name));
            let signed =
                leaf.signed_by.is_some() && trusted.iter().any(|ca| ca.key_id == leaf.signed_by);
            named && signed && leaf.days_left() >= SOON_DAYS
        }))
    }

    /// A certificate whose key is there too. Whoever makes them may be killed between the two.
    fn pair(&self, certificate: &str, key: &str) -> Result<Option<Shown>, CertError> {
        if !self.path(certificate).exists() || !self.path(key).exists() {
            return Ok(None);
        }
        let key = KeyPair::from_pem(&self.read(key)?);
        let shown = self.parsed(certificate)?.into_iter().next();
        Ok(shown.filter(|shown| key.is_ok_and(|key| key.subject_public_key_info() == shown.key)))
    }

    fn new_authority(&self, job: &str) -> Result<String, CertError> {
        let now = OffsetDateTime::now_utc();
        let name = format!("tideflow {job} {}", clock::date(clock::now_ms()));
        let broken = |source| CertError::Make { of: name.clone(), source };
        let key = KeyPair::generate().map_err(broken)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BEFORE;
        params.not_after = now + Duration::days(CA_DAYS);
        let mut bundle = params.self_signed(&key).map_err(broken)?.pem();
        if self.path("ca.pem").exists() {
            // The newest of those before: one that was replaced twice is trusted no more.
            let before = self.read("ca.pem")?;
            bundle += first(&before);
            bundle += "\n";
        }
        self.write("ca.pem", &bundle)?;
        self.write("ca.key", &key.serialize_pem())?;
        Ok(format!("the authority `{name}`, for {} years", CA_DAYS / 365))
    }

    fn new_leaf(&self, host: &Host) -> Result<String, CertError> {
        let broken = |source| CertError::Make { of: host.name.clone(), source };
        let authority = KeyPair::from_pem(&self.read("ca.key")?).map_err(broken)?;
        let issuer = Issuer::from_ca_cert_pem(&self.read("ca.pem")?, authority).map_err(broken)?;
        let key = KeyPair::generate().map_err(broken)?;
        let mut params = CertificateParams::new(names(host)).map_err(broken)?;
        let now = OffsetDateTime::now_utc();
        params.distinguished_name = subject(&host.name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Each process is the one that calls for some of the others, and the one called for the rest.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = now - BEFORE;
        params.not_after = now + Duration::days(LEAF_DAYS);
        let certificate = params.signed_by(&key, &issuer).map_err(broken)?;
        let [certificate_path, key_path] = leaf(host);
        self.write(&key_path, &key.serialize_pem())?;
        self.write(&certificate_path, &certificate.pem())?;
        Ok(format!("the certificate of {} ({}), for {LEAF_DAYS} days", host.name, host.address))
    }

    fn parsed(&self, name: &str) -> Result<Vec<Shown>, CertError> {
        let path = self.path(name);
        let form = |why: String| CertError::Form { path: path.clone(), why };
        let text = self.read(name)?;
        let mut all = Vec::new();
        for pem in Pem::iter_from_buffer(text.as_bytes()) {
            let pem = pem.map_err(|e| form(e.to_string()))?;
            let parsed = pem.parse_x509().map_err(|e| form(e.to_string()))?;
            let names = parsed.subject_alternative_name().map_err(|e| form(e.to_string()))?;
            let names = names.map_or(Vec::new(), |names| {
                names.value.general_names.iter().filter_map(alternative).collect()
            });
            all.push(Shown {
                file: path.clone(),
                subject: parsed.subject().to_string(),
                names,
                until_ms: parsed.validity().not_after.timestamp() * 1_000,
                key: parsed.public_key().raw.to_vec(),
                key_id: parsed.iter_extensions().find_map(|of| match of.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                }),
                signed_by: parsed.iter_extensions().find_map(|of| match of.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => {
                        Some(id.key_identifier.as_ref()?.0.to_vec())
                    }
                    _ => None,
                }),
            });
        }
        match all.is_empty() {
            true => Err(form("it is empty".into())),
            false => Ok(all),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Result<String, CertError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|e| failed(&path, e))
    }

    /// Writes a file that its owner alone may read, whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), CertError> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(folder);
        written.and_then(|()| whole::write(&path, text.as_bytes())).map_err(|e| failed(&path, e))
    }
}

/// The first certificate of several.
fn first(bundle: &str) -> &str {
    bundle.split_inclusive("-----END CERTIFICATE-----").next().unwrap_or_default().trim_start()
}

fn failed(path: &Path, source: io::Error) -> CertError {
    CertError::File { path: path.into(), source }
}

/// The files of a host's certificate and key.
fn leaf(host: &Host) -> [String; 2] {
    ["pem", "key"].map(|end| format!("hosts/{}.{end}", host.name))
}

/// What a host is called by others. Addresses are written as the parser of certificates does.
fn names(host: &Host) -> Vec<String> {
    let address = match host.address.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => host.address.clone(),
    };
    let mut names = vec![host.name.clone(), address];
    names.dedup();
    names
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
