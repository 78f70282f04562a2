//! `gqos completions`: prints the completions of a shell.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::failure::CommandFailure;
use super::output::print;

/// Print the completions of a shell.
///
/// For bash: `gqos completions bash >/usr/share/bash-completion/completions/gqos`; for zsh the file `_gqos` in a
/// directory of `$fpath`; for fish `~/.config/fish/completions/gqos.fish`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// `gqos` is the whole command line.
pub(super) fn run(arguments: &Arguments, mut gqos: Command) -> Result<ExitCode, CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut gqos, "gqos", &mut script);
    // The generators write UTF-8.
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
