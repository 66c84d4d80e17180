//! Log lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{ColorChoice, Global, LogFormat};

/// Sets up logging and color for the process; called once. `reports`: the command says in its own words who does not answer.
pub(crate) fn install(global: &Global, reports: bool) {
    let color = match global.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let choice = if color { anstream::ColorChoice::AlwaysAnsi } else { anstream::ColorChoice::Never };
    choice.write_global();
    let level = match i16::from(global.verbose) - i16::from(global.quiet) {
        ..=-2 => "error",
        -1 => "warn",
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    // The store, the compiler and the clients of AWS speak of themselves, the latter once for each attempt; that is for
    // whoever asks for more.
    let default = if global.verbose == 0 {
        let contacts = if reports { ",connectors::contact=off" } else { "" };
        format!("{level},fjall=warn,lsm_tree=warn,aws_config=error{contacts}")
    } else {
        level.to_owned()
    };
    let filter = EnvFilter::try_from_env("HOST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    match global.log_format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(color)
                    .with_target(false),
            )
            .init(),
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).init();
        }
    }
}
