//! A small HTTP client for the commands that talk to a running host.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::cli::Format;
use crate::report::Stopped;
use crate::results;

/// A running host.
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

/// An answer: its status and its body as JSON (a string if it is not JSON).
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The message of our error shape, or the body as it is.
    pub(crate) fn message(&self) -> String {
        let error = &self.body["error"];
        match (error["message"].as_str(), error["help"].as_str()) {
            (Some(message), Some(help)) => format!("{message}\n  help: {help}"),
            (Some(message), None) => message.to_owned(),
            _ => format!("the host answered {}: {}", self.status, self.body),
        }
    }

    /// Prints the body of a success, as it is or as a table; anything else is an error in the host's words.
    pub(crate) fn show(&self, format: Format, table: impl FnOnce(&Value) -> String) -> Result<(), Stopped> {
        if self.status != 200 {
            return Err(Stopped::Configuration(self.message()));
        }
        let text = match format {
            Format::Json => format!("{:#}\n", self.body),
            Format::Table => table(&self.body),
        };
        Ok(results::print(&text)?)
    }
}

impl Client {
    /// The host at this address.
    pub(crate) fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), url: url.trim_end_matches('/').to_owned() }
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> Result<Answer, Stopped> {
        let response = self.agent.get(format!("{}{path}", self.url)).call();
        self.answer(response)
    }

    /// POST with a JSON or NDJSON body.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Result<Answer, Stopped> {
        let response = self.agent.post(format!("{}{path}", self.url)).send(body);
        self.answer(response)
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Stopped> {
        let mut response = response.map_err(|error| {
            Stopped::Unavailable(format!(
                "no answer from `{}`: {error}\n  help: start it with `host run --views DIR`, or name another with --url",
                self.url
            ))
        })?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| Stopped::Unavailable(format!("`{}` broke off its answer: {error}", self.url)))?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }
}

/// Percent-encodes a text for a path segment or query value.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
