//! Who gets in, what is said to those who do not, and what is never said to anybody.

use std::sync::OnceLock;

use tests::kafka::{self, Client, Cluster, Settings};
use tests::{Host, Workspace, eventually, openssl};

use crate::kafka_job::{Job, Shape};

/// Passwords that would be noticed anywhere.
const PLAIN: &str = "canary-plain-5be1f0c2";
const SCRAM: &str = "canary-scram-77a90d3e";
const WRONG: &str = "canary-wrong-c41d22b8";

/// A broker with every way in.
fn secure() -> &'static Cluster {
    static SECURE: OnceLock<Cluster> = OnceLock::new();
    SECURE.get_or_init(|| {
        let store = |listener: &str, name: &str| {
            format!(
                "listener.name.{listener}.ssl.keystore.type=PEM\nlistener.name.{listener}.ssl.keystore.location={{certificates}}/{name}.full.pem\n"
            )
        };
        let users = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"{PLAIN}\";"
        );
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let properties = [
            "ssl.truststore.type=PEM\nssl.truststore.location={certificates}/ca.pem\n".to_owned(),
            store("tls", "broker"),
            store("mutual", "broker"),
            store("scram", "broker"),
            store("wronghost", "wrong-host"),
            store("expired", "expired"),
            "listener.name.mutual.ssl.client.auth=required\n".to_owned(),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n".to_owned(),
            format!("listener.name.plain.plain.sasl.jaas.config={users}\n"),
            format!("listener.name.plain.scram-sha-256.sasl.jaas.config={scram}\n"),
            format!("listener.name.plain.scram-sha-512.sasl.jaas.config={scram}\n"),
            format!("listener.name.scram.plain.sasl.jaas.config={users}\n"),
            format!("listener.name.scram.scram-sha-256.sasl.jaas.config={scram}\n"),
            format!("listener.name.scram.scram-sha-512.sasl.jaas.config={scram}\n"),
        ]
        .concat();
        let add = |mechanism: &str| ["--add-scram".to_owned(), format!("{mechanism}=[name=bob,password={SCRAM}]")];
        let settings = Settings {
            properties,
            certificates: true,
            listeners: vec![
                ("PLAIN", "SASL_PLAINTEXT"),
                ("TLS", "SSL"),
                ("MUTUAL", "SSL"),
                ("SCRAM", "SASL_SSL"),
                ("WRONGHOST", "SSL"),
                ("EXPIRED", "SSL"),
            ],
            format: [add("SCRAM-SHA-256"), add("SCRAM-SHA-512")].concat(),
            ..Settings::default()
        };
        Cluster::lasting(settings)
    })
}

/// A connection's `security`, with files as they are called in the folder of certificates.
fn security(text: &str) -> String {
    let folder = secure().certificates();
    format!("security: {{ {} }}", text.replace("CERTS", &folder.display().to_string()))
}

fn sasl(mechanism: &str, user: &str) -> String {
    format!("sasl: {{ mechanism: {mechanism}, username: {user}, password: \"${{file:password}}\" }}")
}

/// A job on a listener, not started.
fn job(listener: &str, security: &str, password: &str) -> Job {
    let secure = secure();
    let job = Job::new(&Shape {
        bootstrap: Some(secure.listener(listener)),
        client: Some(secure.client()),
        connection: security,
        ..Shape::default()
    });
    job.workspace.write("password", password);
    job
}

#[test]
fn every_way_in_works() {
    if !kafka::there() || !openssl() {
        return;
    }
    let tls = "tls: { ca: CERTS/ca.pem }";
    let ways = [
        ("TLS", tls.to_owned(), ""),
        (
            "MUTUAL",
            "tls: { ca: CERTS/ca.pem, certificate: CERTS/client.pem, key: CERTS/client.key }".to_owned(),
            "",
        ),
        ("PLAIN", sasl("PLAIN", "alice"), PLAIN),
        ("SCRAM", format!("{tls}, {}", sasl("SCRAM-SHA-256", "bob")), SCRAM),
        ("SCRAM", format!("{tls}, {}", sasl("SCRAM-SHA-512", "bob")), SCRAM),
    ];
    for (listener, way, password) in ways {
        let job = job(listener, &security(&way), password);
        let checked = Host::command(&job.workspace, &["check", "views", "--connect"]);
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "{listener}: {}", String::from_utf8_lossy(&said));
        job.produce(0..10);
        let host = Host::start_with(&job.workspace, &["-vv"]);
        job.records(&host, 10);
        keeps_secrets(&job.workspace, &host);
        assert!(host.stop().success());
    }
}

/// Nothing that the host says holds a password.
pub(crate) fn keeps_secrets(workspace: &Workspace, host: &Host) {
    let config = std::fs::read_to_string(workspace.join("host.yaml")).unwrap();
    assert!(!config.contains("canary"), "the test itself keeps passwords out of the configuration");
    let mut said = vec![host.log()];
    said.extend(["/metrics", "/readyz", "/livez", "/v1/status", "/health"].map(|path| host.get(path).text));
    for arguments in [
        &["list", "views", "--url", &host.url][..],
        &["list", "streams", "--url", &host.url],
        &["check", "views", "--connect", "--format", "json"],
        &["doctor", "views", "--format", "json", "-vv"],
    ] {
        let output = Host::command(workspace, arguments);
        said.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    for text in said {
        let line = text.lines().find(|line| line.contains("canary"));
        assert!(line.is_none(), "a password was said: {line:?}");
    }
}

#[test]
fn what_is_wrong_with_a_connection_is_said() {
    if !kafka::there() || !openssl() {
        return;
    }
    let tls = "tls: { ca: CERTS/ca.pem }";
    // Listener, settings, password, words that the message must have one of.
    let cases: [(&str, String, &str, &[&str]); 8] = [
        ("TLS", "tls: { ca: CERTS/other-ca.pem }".to_owned(), "", &["certificate"]),
        ("WRONGHOST", tls.to_owned(), "", &["not for the host"]),
        ("EXPIRED", tls.to_owned(), "", &["expired"]),
        ("MUTUAL", tls.to_owned(), "", &["certificate"]),
        ("PLAIN", sasl("PLAIN", "alice"), WRONG, &["password", "Authentication", "authentication"]),
        (
            "SCRAM",
            format!("{tls}, {}", sasl("SCRAM-SHA-256", "bob")),
            WRONG,
            &["password", "Authentication", "authentication"],
        ),
        ("TLS", sasl("PLAIN", "alice"), PLAIN, &["tls", "TLS", "SSL", "security", "disconnected"]),
        ("PLAIN", tls.to_owned(), "", &["tls", "TLS", "SSL", "security"]),
    ];
    for (listener, way, password, words) in cases {
        let job = job(listener, &security(&way), password);
        let checked = Host::command(&job.workspace, &["check", "views", "--connect"]);
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{listener} {way}: {said}");
        assert!(
            words.iter().any(|word| said.contains(word)),
            "{listener} {way}: none of {words:?} in {said}"
        );
        assert!(said.contains("main"), "the connection is named: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn a_host_that_is_not_let_in_lives_and_says_why_once() {
    if !kafka::there() || !openssl() {
        return;
    }
    let way = security(&format!("tls: {{ ca: CERTS/ca.pem }}, {}", sasl("SCRAM-SHA-256", "bob")));
    let cases =
        [("SCRAM", way, "uthentication"), ("EXPIRED", security("tls: { ca: CERTS/ca.pem }"), "expired")];
    for (listener, way, word) in cases {
        let job = job(listener, &way, WRONG);
        let host = Host::spawn(&job.workspace, &["-v"]);
        eventually("the log says why", || host.log().contains(word).then_some(()));
        let answer = eventually("the host answers", || host.try_get("/readyz"));
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(host.get("/livez").status, 200);
        keeps_secrets(&job.workspace, &host);
        let log = host.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(word)).collect();
        assert!(lines.len() <= 4, "{}", lines.join("\n"));
        assert!(host.stop().success(), "it stops as it should");
    }
}

#[test]
fn a_mended_password_is_taken_with_the_next_start() {
    if !kafka::there() || !openssl() {
        return;
    }
    let job = job("PLAIN", &security(&sasl("PLAIN", "alice")), WRONG);
    let events = job.produce(0..10);
    // It starts: brokers are waited for, whatever they say.
    assert!(Host::start(&job.workspace).stop().success());
    job.workspace.write("password", PLAIN);
    let host = Host::start(&job.workspace);
    job.records(&host, events.len());
    assert!(host.stop().success());
}

/// What the tests rely on: the broker itself refuses and takes whom it should.
#[test]
fn the_broker_of_these_tests_is_strict() {
    if !kafka::there() || !openssl() {
        return;
    }
    let secure = secure();
    let ca = secure.certificates().join("ca.pem").display().to_string();
    let client = |listener: &str| {
        Client::new(&secure.listener(listener)).with("security.protocol", "ssl").with("ssl.ca.location", &ca)
    };
    assert_eq!(client("TLS").brokers(), 1);
    assert_eq!(client("MUTUAL").brokers(), 0, "it wants a certificate");
    assert_eq!(client("WRONGHOST").brokers(), 0);
    assert_eq!(client("EXPIRED").brokers(), 0);
    let user = |password: &str| {
        Client::new(&secure.listener("PLAIN"))
            .with("security.protocol", "sasl_plaintext")
            .with("sasl.mechanism", "SCRAM-SHA-512")
            .with("sasl.username", "bob")
            .with("sasl.password", password)
    };
    assert_eq!(user(SCRAM).brokers(), 1);
    assert_eq!(user(WRONG).brokers(), 0);
}
