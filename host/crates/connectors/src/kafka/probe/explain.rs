//! What librdkafka and OpenSSL say, in plain words.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::contact::{Heard, NoContact};
use super::{Finding, Severity};
use crate::kafka::{Connection, error};

/// Why there was no contact with a cluster.
pub(super) fn no_contact(connection: &Connection, why: NoContact) -> Finding {
    let (message, help) = match why {
        NoContact::Settings(error) => settings(&error),
        NoContact::Refused(heard) => refused(connection, &heard),
    };
    Finding { severity: Severity::Problem, what: format!("connection `{}`", connection.name), message, help }
}

fn settings(error: &KafkaError) -> (String, String) {
    match error {
        // The text of the error would show the value.
        KafkaError::ClientConfig(_, reason, key, _) => (
            format!("librdkafka does not take the value of `{key}`: {reason}"),
            format!("correct `{key}` under `options`"),
        ),
        KafkaError::ClientCreation(reason) => {
            let help = if reason.contains("ssl.ca.location") {
                "`security.tls.ca` has to name a readable file with certificates in PEM form"
            } else if reason.contains("ssl.certificate.location") {
                "`security.tls.certificate` has to name a readable file with a certificate in PEM form"
            } else if reason.contains("ssl.key") {
                "`security.tls.key` has to name a readable file with the certificate's key in PEM form, and \
                 `key_password` has to open it"
            } else {
                "correct the connection's settings"
            };
            (format!("no client can be made: {reason}"), help.to_owned())
        }
        other => (format!("no client can be made: {other}"), "correct the connection's settings".to_owned()),
    }
}

fn refused(connection: &Connection, heard: &Heard) -> (String, String) {
    let servers = &connection.bootstrap_servers;
    if let Some((number, names)) = heard.certificates.last() {
        return certificate(*number, names);
    }
    // A refusal says more than the broken connection that follows it, and any reason more than silence.
    let refusal = heard.errors.iter().find(|(code, _)| error::is_refusal(*code));
    let reason = || heard.errors.iter().find(|(code, _)| *code != Code::AllBrokersDown);
    let line = || heard.lines.last().map(|line| (Code::BrokerTransportFailure, line));
    let said = refusal.or_else(reason).map(|(code, text)| (*code, text)).or_else(line);
    let Some((code, text)) = said else {
        let security = if connection.tls.is_none() { SECURITY_HELP } else { "" };
        return (
            format!("no broker answers at {servers}"),
            format!("check `bootstrap_servers`, and that a firewall lets these ports through{security}"),
        );
    };
    let help = match code {
        Code::Resolve => "check the host names in `bootstrap_servers`, and the name service of this machine",
        _ if text.contains("Unsupported SASL mechanism") => {
            "choose a mechanism in `security.sasl.mechanism` that the listener offers"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check `username` and `password` under `security.sasl`, and that the broker knows this user with this \
             mechanism"
        }
        Code::SSL => handshake(connection, text),
        _ if text.contains("SSL routines") => handshake(connection, text),
        _ if text.contains("Connection refused") => {
            "nobody listens at this address: check the port in `bootstrap_servers`, and that the broker runs"
        }
        _ if text.contains("PLAINTEXT broker listener") => {
            "the listener does not speak TLS: name the TLS port in `bootstrap_servers`, or take `security.tls` away"
        }
        _ if text.contains("ApiVersion")
            || text.contains("security.protocol")
            || text.contains("SSL listener") =>
        {
            "the listener wants another kind of security: name another port in `bootstrap_servers`, or give the \
             connection `security.tls` or `security.sasl` as the listener has it"
        }
        _ if text.contains("imed out") => {
            "the address does not answer: check `bootstrap_servers`, and that a firewall lets the port through"
        }
        _ if connection.tls.is_none() || connection.sasl.is_none() => {
            "check `bootstrap_servers`, and whether the listener wants TLS (`security.tls`) or a password \
             (`security.sasl`)"
        }
        _ => "check `bootstrap_servers`, and the broker's log at this time",
    };
    (format!("no broker lets us in: {}", without_suppressed(text)), help.to_owned())
}

/// What OpenSSL has against a certificate, by the number of its error.
fn certificate(number: i32, names: &str) -> (String, String) {
    let (what, help) = match number {
        9 => ("is not valid yet", "check the clock of this machine, and the certificate's dates"),
        10 => ("has expired", "the broker needs a new certificate; check also the clock of this machine"),
        18 => ("is signed by itself and not one that we trust", CA_HELP),
        2 | 19 | 20 | 21 => ("is signed by an authority that we do not trust", CA_HELP),
        62 | 64 => (
            "is not for the host that we connect to",
            "use the name in `bootstrap_servers` that the certificate has, and see that the broker's \
             `advertised.listeners` uses it as well",
        ),
        23 => ("was revoked", "the broker needs a new certificate"),
        _ => ("cannot be verified", CA_HELP),
    };
    let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
    let code = if matches!(what, "cannot be verified") {
        format!(": OpenSSL error {number}")
    } else {
        String::new()
    };
    (format!("the broker's certificate{names} {what}{code}"), help.to_owned())
}

const SECURITY_HELP: &str = "; a listener that wants TLS (`security.tls`) does not answer either";

const CA_HELP: &str = "name the authority that signed the broker's certificate in `security.tls.ca`";

fn handshake(connection: &Connection, text: &str) -> &'static str {
    let has_certificate = connection.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    if text.contains("wrong version number") || text.contains("PLAINTEXT broker listener") {
        "the listener does not speak TLS: name the TLS port in `bootstrap_servers`, or take `security.tls` away"
    } else if text.contains("certificate") && !has_certificate {
        "the listener wants a certificate from us: give `certificate` and `key` under `security.tls`"
    } else if text.contains("certificate") || text.contains("unknown ca") {
        "the broker does not take our certificate: it has to be signed by an authority in the broker's trust store, and \
         not to have expired"
    } else {
        "check the settings under `security.tls`, and the broker's log at this time"
    }
}

/// Without the note about repeats, which says nothing of the cause.
fn without_suppressed(text: &str) -> &str {
    text.find(" (after ").map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kafka::Tls;

    fn connection(tls: Option<Tls>) -> Connection {
        Connection {
            name: "main".to_owned(),
            bootstrap_servers: "kafka:9092".to_owned(),
            tls,
            sasl: None,
            options: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn check(heard: Heard, message: &str, help: &str) {
        let finding = no_contact(&connection(Some(Tls::default())), NoContact::Refused(heard));
        assert_eq!(finding.message, message);
        assert!(finding.help.contains(help), "{}", finding.help);
    }

    fn errors(errors: &[(Code, &str)]) -> Heard {
        Heard {
            errors: errors.iter().map(|(code, text)| (*code, (*text).to_owned())).collect(),
            ..Heard::default()
        }
    }

    #[test]
    fn reasons_are_put_in_plain_words() {
        check(errors(&[]), "no broker answers at kafka:9092", "firewall");
        check(
            errors(&[
                (
                    Code::BrokerTransportFailure,
                    "kafka:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 1ms in state CONNECT)",
                ),
                (Code::AllBrokersDown, "1/1 brokers are down"),
            ]),
            "no broker lets us in: kafka:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
            "nobody listens",
        );
        check(
            errors(&[
                (Code::BrokerTransportFailure, "disconnected"),
                (
                    Code::Authentication,
                    "SASL authentication error: Authentication failed (after 5ms in state AUTH_REQ)",
                ),
            ]),
            "no broker lets us in: SASL authentication error: Authentication failed",
            "`password`",
        );
        check(
            errors(&[(
                Code::SSL,
                "SSL handshake failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42",
            )]),
            "no broker lets us in: SSL handshake failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL \
             alert number 42",
            "wants a certificate from us",
        );
    }

    #[test]
    fn certificates_are_explained() {
        let bad = |number| Heard {
            certificates: vec![(number, "subject=/CN=broker".to_owned())],
            ..Heard::default()
        };
        check(bad(10), "the broker's certificate (subject=/CN=broker) has expired", "new certificate");
        check(
            bad(64),
            "the broker's certificate (subject=/CN=broker) is not for the host that we connect to",
            "`advertised.listeners`",
        );
        check(
            bad(20),
            "the broker's certificate (subject=/CN=broker) is signed by an authority that we do not trust",
            "`security.tls.ca`",
        );
    }

    #[test]
    fn values_of_settings_are_not_shown() {
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "invalid".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let finding = no_contact(&connection(None), NoContact::Settings(error));
        assert!(!format!("{finding:?}").contains("hunter2"));
    }
}
