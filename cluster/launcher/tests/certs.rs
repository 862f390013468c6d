//! Certificates as those who check them see them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tideflow_launcher::certs::{CertError, Certs};
use tideflow_launcher::cluster_file::Host;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

fn hosts(addresses: &[(&str, &str)]) -> Vec<Host> {
    let host =
        |(name, address): &(&str, &str)| Host { name: (*name).into(), address: (*address).into() };
    addresses.iter().map(host).collect()
}

fn all(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

/// Whether a certificate of one of these authorities holds for a name, for a server and for a client.
fn holds(ca: &str, certificate: &str, name: &str) -> bool {
    let (authorities, leaf) = (all(ca), all(certificate));
    let anchors: Vec<_> =
        authorities.iter().map(|der| anchor_from_trusted_cert(der).unwrap()).collect();
    let leaf = EndEntityCert::try_from(&leaf[0]).unwrap();
    let used = |usage: KeyUsage| {
        let time = UnixTime::now();
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], time, usage, None, None).is_ok()
    };
    let named = leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_ok();
    named && used(KeyUsage::server_auth()) && used(KeyUsage::client_auth())
}

#[test]
fn each_host_has_a_certificate_of_the_authority_for_its_name_and_address() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::at(&folder.path().join("certs"));
    let hosts = hosts(&[("w1", "10.0.0.1"), ("w2", "node.example")]);
    assert_eq!(certs.make("j", &hosts).unwrap().len(), 4);
    assert!(certs.make("j", &hosts).unwrap().is_empty(), "nothing is missing the second time");
    for host in &hosts {
        let files = certs.of(host).unwrap();
        assert!(holds(&files.ca, &files.certificate, &host.name));
        assert!(holds(&files.ca, &files.certificate, &host.address));
        assert!(!holds(&files.ca, &files.certificate, "10.9.9.9"));
    }
    let token = certs.token().unwrap();
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()));
    for secret in ["ca.key", "token", "hosts/w1.key"] {
        let mode =
            folder.path().join("certs").join(secret).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn a_host_that_has_moved_gets_another_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::at(folder.path());
    certs.make("j", &hosts(&[("w1", "10.0.0.1"), ("w2", "10.0.0.2")])).unwrap();
    let moved = hosts(&[("w1", "10.0.0.1"), ("w2", "10.0.0.3")]);
    assert_eq!(certs.make("j", &moved).unwrap().len(), 1);
    let files = certs.of(&moved[1]).unwrap();
    assert!(holds(&files.ca, &files.certificate, "10.0.0.3"));
}

#[test]
fn a_certificate_without_its_key_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::at(folder.path());
    let hosts = hosts(&[("w1", "10.0.0.1"), ("w2", "10.0.0.2")]);
    certs.make("j", &hosts).unwrap();
    let copy = |from: &str, to: &str| {
        std::fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    };
    copy("hosts/w2.key", "hosts/w1.key");
    let made = certs.make("j", &hosts).unwrap();
    assert!(made.len() == 1 && made[0].contains("w1"), "{made:?}");
    copy("hosts/w2.key", "ca.key");
    assert!(certs.make("j", &hosts).unwrap()[0].contains("the authority"));
    // Certificates of the authority that is gone stay good as long as that is trusted.
    std::fs::remove_file(folder.path().join("ca.key")).unwrap();
    assert_eq!(certs.make("j", &hosts).unwrap().len(), 3, "the authority and both hosts");
    let files = certs.of(&hosts[0]).unwrap();
    assert!(holds(&files.ca, &files.certificate, "w1"));
}

#[test]
fn the_authority_before_stays_trusted_for_one_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::at(folder.path());
    let hosts = hosts(&[("w1", "10.0.0.1")]);
    certs.make("j", &hosts).unwrap();
    let first = certs.of(&hosts[0]).unwrap();
    certs.rotate("j", &hosts, false).unwrap();
    let leaf = certs.of(&hosts[0]).unwrap();
    assert_eq!(leaf.ca, first.ca);
    assert_ne!(leaf.certificate, first.certificate);
    certs.rotate("j", &hosts, true).unwrap();
    let second = certs.of(&hosts[0]).unwrap();
    assert!(holds(&second.ca, &first.certificate, "w1"), "during the transition");
    assert!(holds(&second.ca, &second.certificate, "w1"));
    assert_eq!(all(&second.ca).len(), 2);
    assert!(!holds(&first.ca, &second.certificate, "w1"), "another authority's is refused");
    certs.rotate("j", &hosts, true).unwrap();
    let third = certs.of(&hosts[0]).unwrap();
    assert_eq!(all(&third.ca).len(), 2);
    assert!(!holds(&third.ca, &first.certificate, "w1"));
    certs.rotate("j", &hosts, false).unwrap();
    let last = certs.of(&hosts[0]).unwrap();
    assert_eq!(all(&last.ca).len(), 1);
    assert!(holds(&last.ca, &last.certificate, "w1"));
}

#[test]
fn they_are_shown_with_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::at(folder.path());
    certs.make("j", &hosts(&[("w1", "10.0.0.1")])).unwrap();
    let shown = certs.show().unwrap();
    assert!(shown[0].subject.starts_with("CN=tideflow j "), "{}", shown[0].subject);
    assert_eq!(shown[1].names, ["w1", "10.0.0.1"]);
    assert!((363..=365).contains(&shown[1].days_left()), "{}", shown[1].days_left());
    assert!((3_648..=3_650).contains(&shown[0].days_left()));
    std::fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    let broken = certs.show().unwrap_err();
    assert!(matches!(&broken, CertError::Form { path, .. } if path.ends_with(Path::new("ca.pem"))));
}
