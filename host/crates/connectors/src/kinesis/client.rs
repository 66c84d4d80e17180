//! From a connection to a client of the AWS SDK.
//!
//! Credentials come from AWS's usual chain: environment, profile, web identity, container, instance. Repeats are ours, with
//! positions kept: the SDK makes one attempt at each request, except where it fetches credentials.

use std::path::Path;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::error::Failure;

use super::Connection;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first byte of an answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a request may take with its whole answer, of which the largest has 10 MiB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(45);
/// The name of our sessions in the logs of a role's account.
const SESSION_NAME: &str = "millrace";

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Makes a client. Nothing is asked of Kinesis. `is_test`: with credentials of nobody.
pub(super) async fn make(connection: &Connection, is_test: bool) -> Result<Client, Failure> {
    let doing = format!("use connection `{}`", connection.name);
    let stop = |what: String| Failure::stop(format!("{doing}: {what}"));
    if let Some(url) = &connection.endpoint_url
        && !(url.starts_with("http://") || url.starts_with("https://"))
    {
        return Err(stop(format!("`endpoint_url: {url}` is no address; begin it with `https://`")));
    }
    let http = http_client(connection).map_err(stop)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Ok(name) = AppName::new("millrace") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &connection.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    if is_test {
        loader = loader.credentials_provider(Credentials::new("test", "test", None, None, "tests"));
    }
    let base = loader.load().await;
    if base.region().is_none() {
        return Err(stop("no region is given; set `region` in the connection, or `AWS_REGION`".to_owned()));
    }
    let mut config = aws_sdk_kinesis::config::Builder::from(&base).retry_config(RetryConfig::disabled());
    if let Some(role) = &connection.role_arn {
        let mut provider = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&base);
        if let Some(external_id) = &connection.external_id {
            provider = provider.external_id(external_id);
        }
        config = config.credentials_provider(provider.build().await);
    }
    // Not among what is loaded: roles are taken on at AWS's own endpoint, or the one that the environment names for that.
    if let Some(url) = &connection.endpoint_url {
        config = config.endpoint_url(url);
    }
    Ok(Client::from_conf(config.build()))
}

fn http_client(connection: &Connection) -> Result<SharedHttpClient, String> {
    let mut builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    if let Some(path) = &connection.ca {
        let trust = TrustStore::empty().with_pem_certificate(authorities(path)?);
        let context = TlsContext::builder().with_trust_store(trust).build();
        builder = builder.tls_context(context.map_err(|error| format!("`ca: {}`: {error}", path.display()))?);
    }
    Ok(builder.build_https())
}

/// The certificates in a file. What is none would end the SDK with a panic at the first request.
fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let at = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("`ca: {at}` cannot be read ({error}); correct the path"))?;
    let mut pem = String::new();
    for part in text.split(PEM_BEGIN).skip(1) {
        let body = part.split(PEM_END).next().unwrap_or_default();
        let compact: String = body.split_whitespace().collect();
        if !part.contains(PEM_END) || !STANDARD.decode(&compact).is_ok_and(|der| is_sequence(&der)) {
            return Err(format!("`ca: {at}` has a certificate that is broken; write it anew"));
        }
        for piece in [PEM_BEGIN, "\n", body.trim(), "\n", PEM_END, "\n"] {
            pem.push_str(piece);
        }
    }
    if pem.is_empty() {
        return Err(format!("`ca: {at}` has no certificate in it; it has to be PEM"));
    }
    Ok(pem.into_bytes())
}

/// Whether these bytes are one DER sequence, and nothing behind it.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = der else { return false };
    let first = usize::from(*first);
    if first < 0x80 {
        return rest.len() == first;
    }
    let count = first & 0x7f;
    let Some(length) = rest.get(..count).filter(|_| (1..=4).contains(&count)) else { return false };
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    rest.len() == count + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &str, expected: Result<usize, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        match (authorities(&path), expected) {
            (Ok(pem), Ok(count)) => {
                assert_eq!(String::from_utf8(pem).unwrap().matches(PEM_BEGIN).count(), count);
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_words() {
        let der = STANDARD.encode([0x30, 3, 2, 1, 7]);
        let good = format!("{PEM_BEGIN}\n{der}\n{PEM_END}\n");
        check(&good, Ok(1));
        check(&format!("# ours\n{good}{good}"), Ok(2));
        check("", Err("has no certificate"));
        check(&format!("{PEM_BEGIN}\n!!\n{PEM_END}"), Err("broken"));
        check(&format!("{PEM_BEGIN}\n{}\n{PEM_END}", STANDARD.encode([0x30, 9, 1])), Err("broken"));
        check(&good.replace(PEM_END, ""), Err("broken"));
    }

    #[tokio::test]
    async fn wrong_settings_stop_with_words() {
        let wrong = |endpoint_url: Option<&str>, ca: Option<&str>| Connection {
            name: "aws".to_owned(),
            region: Some("eu-central-1".to_owned()),
            endpoint_url: endpoint_url.map(str::to_owned),
            ca: ca.map(Into::into),
            ..Connection::default()
        };
        let failure = make(&wrong(Some("localhost:4567"), None), true).await.unwrap_err().to_string();
        assert!(failure.contains("`endpoint_url: localhost:4567`"), "{failure}");
        let failure = make(&wrong(None, Some("/nonexistent/ca.pem")), true).await.unwrap_err().to_string();
        assert!(failure.contains("cannot be read"), "{failure}");
    }
}
