//! Who is let in by Redis, what is said to those who are not, and what is never said to anybody.

use tests::redis::{self, Server, Settings};
use tests::{Host, eventually, openssl};

use crate::kafka_security::keeps_secrets;
use crate::redis_job::{SOURCE, all_emitted, at, check, events, folder, newest};

/// Passwords that would be noticed anywhere.
const RIGHT: &str = "canary-redis-91c7e2d4";
const WRONG: &str = "canary-wrong-2f60ab8d";

/// What a host needs, and nothing more: as `host check --connect` tells those who may less.
const USER: &str = "~*default ~millrace:default:* ~millrace:{default:* +@read +@write +@scripting +@transaction +@connection +info +role +time +cluster|slots +cluster|info";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn redis_lets_a_host_in_by_each_way() {
    if !redis::there() {
        return;
    }
    let encrypted = openssl() && redis::with_tls();
    let server = Server::start_with(Settings {
        // Whoever comes encrypted shows a certificate.
        lines: format!(
            "user app on >{RIGHT} {USER}\nappendonly yes{}",
            if encrypted { "\ntls-auth-clients yes" } else { "" }
        ),
        tls: encrypted,
        password: Some(RIGHT.to_owned()),
    });
    let plain = server.address();
    let password = "password: \"${file:password}\"";
    // The connection, and where its rows must be.
    let mut ways = vec![
        (format!("address: \"{plain}\", {password}, database: 3"), "db3"),
        (format!("address: \"{plain}\", username: app, {password}"), "db0"),
    ];
    if encrypted {
        let folder = server.certificates().display().to_string();
        let tls = format!(
            "tls: {{ ca: {folder}/ca.pem, certificate: {folder}/client.pem, key: {folder}/client.key }}"
        );
        ways.push((format!("address: \"{}\", {password}, {tls}, database: 1", server.tls_address()), "db1"));
    }
    for (index, (way, database)) in ways.iter().enumerate() {
        assert_eq!(server.info(database), "", "nobody has written there");
        let workspace = folder(way);
        workspace.write("password", RIGHT);
        let checked = Host::command(&workspace, &["check", "views", "--connect"]);
        assert!(checked.status.success(), "{way}: {}", said(&checked));
        let host = Host::start_with(&workspace, &["-vv"]);
        host.push(SOURCE, events(0..100));
        all_emitted(&workspace, &host, 100);
        check(&host, &newest(0..100));
        assert!(server.info(database).contains("keys="), "{way}: nothing is in {database}");
        if index == 0 {
            let _: u64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        keeps_secrets(&workspace, &host);
        assert!(host.stop().success());
    }
}

#[test]
fn what_is_wrong_with_a_redis_is_said() {
    if !redis::there() {
        return;
    }
    let evicting = "maxmemory 100mb\nmaxmemory-policy volatile-ttl";
    let server = Server::start_with(Settings {
        lines: format!("user less on >{RIGHT} ~* &* +@all -evalsha\n{evicting}"),
        password: Some(RIGHT.to_owned()),
        ..Settings::default()
    });
    let (address, nobody) = (server.address(), tests::free_address());
    let password = "password: \"${file:password}\"";
    // The connection, its password, how checks end, and words that are said.
    let cases: [(String, &str, i32, &[&str]); 5] = [
        (format!("address: \"{nobody}\""), "", 1, &["nobody answers"]),
        (format!("address: \"{address}\""), "", 1, &["NOAUTH", "password"]),
        (format!("address: \"{address}\", {password}"), WRONG, 1, &["password"]),
        (
            format!("address: \"{address}\", username: less, {password}"),
            RIGHT,
            1,
            &["`less`", "may not", "evalsha", "ACL SETUSER less ~*default"],
        ),
        (
            format!("address: \"{address}\", {password}"),
            RIGHT,
            0,
            &["volatile-ttl", "noeviction", "appendonly"],
        ),
    ];
    for (way, password, code, words) in cases {
        let workspace = folder(&way);
        workspace.write("password", password);
        for command in [&["check", "views", "--connect"][..], &["doctor", "views"]] {
            let output = Host::command(&workspace, command);
            let text = said(&output);
            for word in words {
                assert!(text.to_lowercase().contains(&word.to_lowercase()), "{way}: no `{word}` in {text}");
            }
            assert!(text.contains("cache"), "the connection is named: {text}");
            assert!(!text.contains("canary"), "{text}");
            if command[0] == "check" {
                assert_eq!(output.status.code(), Some(code), "{way}: {text}");
            }
        }
    }
}

#[test]
fn a_wrong_password_is_waited_for_and_can_be_mended_while_it_runs() {
    if !redis::there() {
        return;
    }
    let server =
        Server::start_with(Settings { lines: format!("user app on >{WRONG} {USER}"), ..Settings::default() });
    let way = format!("{}, username: app, password: \"${{file:password}}\"", at(&server));
    let workspace = folder(&way);
    workspace.write("password", RIGHT);
    let host = Host::spawn(&workspace, &[]);
    let reasons = host.unready("AUTH was refused");
    assert!(reasons.contains("`cache`"), "{reasons}");
    assert_eq!(host.get("/livez").status, 200);
    eventually("a push is taken", || {
        host.try_post(&format!("/v1/push/{SOURCE}"), events(0..100)).filter(|answer| answer.status == 200)
    });
    keeps_secrets(&workspace, &host);
    let log = host.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("AUTH was refused")).collect();
    assert!(lines.len() <= 4, "{}", lines.join("\n"));
    let _: String = server.ask(&["ACL", "SETUSER", "app", &format!(">{RIGHT}")]);
    all_emitted(&workspace, &host, 100);
    host.ready();
    check(&host, &newest(0..100));
    assert!(host.stop().success());
}
