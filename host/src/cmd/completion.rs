//! `host completion`: a script that teaches a shell our commands.

use clap::CommandFactory;
use clap_complete::shells;

use crate::cli::{Cli, CompletionArgs, Shell};
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn completion(args: &CompletionArgs) -> Result<(), Stopped> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "host", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "host", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "host", &mut script),
    }
    Ok(results::print(&String::from_utf8_lossy(&script))?)
}
