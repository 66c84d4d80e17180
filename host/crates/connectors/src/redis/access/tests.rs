//! What is wrong before anything is connected.

use std::path::PathBuf;

use model::error::Disposition;

use super::*;

#[track_caller]
fn check_address(address: &str, expected: Option<(&str, u16)>) {
    let found = host_and_port(address).ok();
    assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{address}");
}

#[test]
fn addresses_have_a_host_and_a_port() {
    check_address("cache:6379", Some(("cache", 6379)));
    check_address("[::1]:6379", Some(("::1", 6379)));
    check_address("cache", None);
    check_address("cache:", None);
    check_address(":6379", None);
    check_address("[::1:6379", None);
    check_address("cache:99999", None);
}

#[track_caller]
fn check_tls(tls: Tls, expected: &str) {
    let connection = Connection { tls: Some(tls), ..Connection::new("cache", vec!["127.0.0.1:1".into()]) };
    let failure = Access::read(&connection).err().expect("it is refused");
    assert_eq!(failure.disposition, Disposition::Stop);
    let text = failure.to_string();
    assert!(text.contains(expected), "{text}");
}

#[test]
fn files_that_cannot_be_used_stop() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> Option<PathBuf> {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    check_tls(Tls { ca: Some(directory.path().join("gone")), ..Tls::default() }, "gone`: No such file");
    check_tls(Tls { ca: file("text", "hello"), ..Tls::default() }, "text`: it holds no PEM");
    let broken = file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check_tls(Tls { ca: broken.clone(), ..Tls::default() }, "trust anchors");
    check_tls(Tls { certificate: broken, ..Tls::default() }, "belong together");
}

#[test]
fn a_connection_has_an_address() {
    let connection = Connection::new("cache", Vec::new());
    assert_eq!(Access::read(&connection).err().map(|failure| failure.disposition), Some(Disposition::Stop));
    let connection = Connection::new("cache", vec!["cache".into()]);
    assert_eq!(Access::read(&connection).err().map(|failure| failure.disposition), Some(Disposition::Stop));
}
