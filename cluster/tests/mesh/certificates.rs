//! An authority for certificates, with files of two processes on loopback.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tideflow_cluster::mesh::TlsFiles;

pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        };
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        write("ca.pem", params.self_signed(&key).expect("it signs itself").pem());
        let issuer = Issuer::new(params, key);
        for process in 0..3 {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(["127.0.0.1".to_string()]).expect("an address");
            let signed = params.signed_by(&key, &issuer).expect("it signs");
            write(&format!("{process}.pem"), signed.pem());
            write(&format!("{process}.key.pem"), key.serialize_pem());
        }
        Authority { folder }
    }

    /// What a process needs.
    pub fn files(&self, process: usize) -> TlsFiles {
        let file = |name: String| self.folder.path().join(name);
        TlsFiles {
            ca: file("ca.pem".into()),
            certificate: file(format!("{process}.pem")),
            key: file(format!("{process}.key.pem")),
        }
    }
}
