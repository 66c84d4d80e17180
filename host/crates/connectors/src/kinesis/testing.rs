//! For tests: servers of others that speak Kinesis' protocol, and how many cases a property is tried with.

use proptest::test_runner::Config;

/// The address of the server that an environment variable names, as `host:port` or as a URL. `None` says that this test
/// is skipped; fails where none may be.
#[track_caller]
pub(crate) fn server_url(variable: &str, test: &str) -> Option<String> {
    let Ok(address) = std::env::var(variable) else {
        assert!(
            std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_none(),
            "{variable} names no server, and MILLRACE_REQUIRE_SERVICES is set"
        );
        eprintln!("SKIPPED {test}: {variable} names no server");
        return None;
    };
    Some(if address.contains("://") { address } else { format!("http://{address}") })
}

/// So many cases, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(usual: u32) -> Config {
    let said = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    Config { cases: said.unwrap_or(usual), ..Config::default() }
}
