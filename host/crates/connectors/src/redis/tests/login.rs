//! Passwords, rights and encryption.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::redis::{Mode, Tls};

const TEST: &str = "login";

#[track_caller]
fn check_lets_in(connection: &Connection) {
    let rig = Rig::new(connection);
    assert_eq!(rig.set("a", "1"), Ok(Value::Okay));
    let mut master = rig.nodes.master().unwrap();
    assert_eq!(command(&["GET", "a"]).query::<String>(&mut master.connection), Ok("1".to_owned()));
}

/// Both ways in refuse, at once and with words.
#[track_caller]
fn check_keeps_out(connection: &Connection, expected: &[&str]) {
    let rig = Rig::new(connection);
    check_refused(rig.set("a", "1"), expected);
    check_refused(rig.nodes.master().map(|_| Value::Nil).map_err(|failure| failure.to_string()), expected);
    assert!(rig.nodes.reason_away().is_some());
}

fn with_login(server: &Server, username: Option<&str>, password: Option<&str>) -> Connection {
    Connection {
        username: username.map(str::to_owned),
        password: password.map(str::to_owned),
        ..server.connection("cache")
    }
}

#[test]
fn passwords_and_users() {
    let Some(server) =
        Server::start(TEST, &["--requirepass", "secret", "--user", "host", "on", ">word", "~*", "+@all"])
    else {
        return;
    };
    check_lets_in(&with_login(&server, None, Some("secret")));
    check_lets_in(&with_login(&server, Some("host"), Some("word")));
    check_lets_in(&with_login(&server, Some("default"), Some("secret")));
    let words = ["does not let us in; check `username` and `password`"];
    check_keeps_out(&with_login(&server, None, Some("wrong")), &words);
    check_keeps_out(&with_login(&server, Some("host"), Some("secret")), &words);
    check_keeps_out(&with_login(&server, Some("nobody"), Some("word")), &words);
    check_keeps_out(&with_login(&server, None, None), &words);
}

#[test]
fn rights_that_are_missing_are_named() {
    let Some(server) =
        Server::start(TEST, &["--user", "host", "on", ">word", "~mine:*", "+get", "+set", "+evalsha"])
    else {
        return;
    };
    // Neither ROLE nor INFO: the only address is taken for the master.
    let rig = Rig::new(&with_login(&server, Some("host"), Some("word")));
    assert_eq!(rig.set("mine:a", "1"), Ok(Value::Okay));
    check_refused(rig.set("a", "1"), &["the user lacks a right", "NOPERM"]);
    check_refused(
        rig.ask(Keyed::new(b"mine:a", command(&["HSET", "mine:a", "f", "v"]))),
        &["lacks a right", "hset"],
    );
    check_refused(rig.ask(Keyed::script(&counting(), &["mine:a"], 1)), &["lacks a right", "script"]);
    let identity = rig.nodes.master().unwrap().identity;
    assert_eq!((identity.run_id, identity.version), (None, None));
    assert!(rig.heard.lock().unwrap().is_empty());
}

#[test]
fn databases_are_apart() {
    let Some(server) = Server::start(TEST, &[]) else { return };
    let at = |database| Connection { database, ..server.connection("cache") };
    check_lets_in(&at(3));
    assert_eq!(Rig::new(&at(0)).get("a"), Ok(Value::Nil));
    assert_eq!(Rig::new(&at(3)).get("a"), Ok(bulk("1")));
    check_keeps_out(&at(99), &["DB index is out of range"]);
}

#[test]
fn sentinels_may_want_the_password_too() {
    let Some(server) = Server::start(TEST, &["--requirepass", "secret"]) else { return };
    for sentinel_arguments in [&["--sentinel"][..], &["--sentinel", "--requirepass", "secret"]] {
        let sentinel = Server::start(TEST, sentinel_arguments).unwrap();
        let mut client = sentinel.client();
        if sentinel_arguments.len() > 1 {
            command(&["AUTH", "secret"]).exec(&mut client).unwrap();
        }
        let port = server.port().to_string();
        command(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "1"]).exec(&mut client).unwrap();
        let mut connection = with_login(&sentinel, None, Some("secret"));
        connection.mode = Mode::Sentinel { service: "main".into() };
        connection.database = 2;
        check_lets_in(&connection);
    }
}

/// An authority, a server, a client, and a server under another name.
fn certificates(folder: &Path) -> bool {
    let openssl = |arguments: &str| {
        Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let required = std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_some();
    if !openssl("version") {
        assert!(!required, "`openssl` is not on the PATH, and MILLRACE_REQUIRE_SERVICES is set");
        eprintln!("SKIPPED encryption: `openssl` is not on the PATH");
        return false;
    }
    for name in ["ca", "other"] {
        assert!(openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
        )));
    }
    for (name, names) in [
        ("server", "DNS:localhost,IP:127.0.0.1"),
        ("client", "DNS:client"),
        ("elsewhere", "DNS:elsewhere.example"),
    ] {
        std::fs::write(folder.join("names"), format!("subjectAltName={names}\n")).unwrap();
        assert!(openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        )));
        assert!(openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out {name}.pem"
        )));
    }
    true
}

#[test]
fn encryption_is_checked_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    if !crate::redis::testing::is_installed(TEST) || !certificates(folder.path()) {
        return;
    }
    let path = |name: &str| folder.path().join(name);
    let start = |name: &str, clients: &str| {
        let file = |ending: &str| path(&format!("{name}.{ending}")).display().to_string();
        let (certificate, key, authority) = (file("pem"), file("key"), path("ca.pem").display().to_string());
        let arguments = [
            "--port",
            "0",
            "--tls-port",
            "{port}",
            "--tls-auth-clients",
            clients,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
        ];
        Server::start(TEST, &arguments).unwrap()
    };
    let with = |server: &Server, ca: Option<PathBuf>, client: Option<&str>| {
        let file = |ending: &str| client.map(|name| path(&format!("{name}.{ending}")));
        let tls = Tls { ca, certificate: file("pem"), key: file("key") };
        Connection { tls: Some(tls), ..server.connection("cache") }
    };
    let ours = || Some(path("ca.pem"));
    let open = start("server", "no");
    check_lets_in(&with(&open, ours(), None));
    check_lets_in(&with(&open, ours(), Some("client")));
    check_keeps_out(&with(&open, Some(path("other.pem")), None), &["check `tls`", "certificate"]);
    check_keeps_out(&with(&open, None, None), &["check `tls`", "certificate"]);
    let closed = start("server", "yes");
    check_lets_in(&with(&closed, ours(), Some("client")));
    check_keeps_out(&with(&closed, ours(), None), &["check `tls`"]);
    let elsewhere = start("elsewhere", "no");
    check_keeps_out(&with(&elsewhere, ours(), None), &["check `tls`", "not valid for name"]);
    // One side encrypts, and the other does not.
    let mut plain = with(&open, None, None);
    plain.tls = None;
    plain.response_timeout = std::time::Duration::from_millis(500);
    check_keeps_out(&plain, &[]);
    let Some(server) = Server::start(TEST, &[]) else { return };
    let mut encrypted = with(&server, ours(), None);
    encrypted.connect_timeout = std::time::Duration::from_millis(500);
    encrypted.response_timeout = encrypted.connect_timeout;
    check_keeps_out(&encrypted, &["no answer in time"]);
}
