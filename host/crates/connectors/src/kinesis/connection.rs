//! Where Kinesis is, as whom we come, and which stream: names only, see [`super::Shared`] for what is made of them.

use std::fmt;
use std::path::PathBuf;

/// A way to Kinesis as a host names it. Credentials come from AWS's usual chain: environment, profile, web identity,
/// container, instance. Nothing is tried until something is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// Its name in `host.yaml`.
    pub name: String,
    /// The region; `None` = as the environment says.
    pub region: Option<String>,
    /// Another endpoint than AWS's own.
    pub endpoint_url: Option<String>,
    /// A profile of the shared configuration files.
    pub profile: Option<String>,
    /// A role to take on with these credentials.
    pub role_arn: Option<String>,
    /// Asked for by some roles of other accounts.
    pub external_id: Option<String>,
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
}

/// A stream, by either of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// By name, in the connection's account and region.
    Name(String),
    /// By Amazon resource name.
    Arn(String),
}

impl Stream {
    /// For requests that take either.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Arn(_) => None,
        }
    }

    /// For requests that take either.
    pub(crate) fn arn(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => Some(arn.clone()),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) => f.write_str(text),
        }
    }
}
