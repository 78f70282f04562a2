//! `gqos man`: the manual pages, made from the help of the commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgAction, Command};
use clap_mangen::Man;

use super::failure::{CommandFailure, Exit};
use super::output::{print, write};
use super::stopwatch::date;

/// Print a manual page, or write all of them to a directory.
///
/// A page is read with `gqos man | man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The command, with a subcommand if it has any; without a command, the page of gqos itself is printed.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write a page for each command to this directory: gqos.1, gqos-demo.1 and so on.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    all: Option<PathBuf>,
}

/// `gqos` is the whole command line.
pub(super) fn run(arguments: &Arguments, mut gqos: Command) -> Result<ExitCode, CommandFailure> {
    // Names the pages gqos-demo, and the commands in their synopses `gqos demo`.
    gqos = documented(gqos);
    gqos.build();
    match &arguments.all {
        None => print(&page(named(&gqos, &arguments.command)?)?)?,
        Some(directory) => write_all(&gqos, directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A command without the commands `help`, which have no pages, and with a mark behind the names of what may be repeated.
fn documented(command: Command) -> Command {
    let marked = command.disable_help_subcommand(true).mut_args(|argument| {
        let repeats = argument.is_positional() && matches!(argument.get_action(), ArgAction::Append);
        match argument.get_value_names() {
            Some([name]) if repeats => {
                // The library takes names that last, and the process ends with the page.
                let name: &'static str = format!("{name}...").leak();
                argument.value_name(name)
            }
            _ => argument,
        }
    });
    marked.mut_subcommands(documented)
}

/// The command of these names below another.
fn named<'a>(command: &'a Command, names: &[String]) -> Result<&'a Command, CommandFailure> {
    names.iter().try_fold(command, |command, name| {
        let found = command.find_subcommand(name);
        found
            .with_context(|| format!("gqos has no command {}", names.join(" ")))
            .map_err(|error| CommandFailure::new(Exit::Usage, error))
    })
}

fn page(command: &Command) -> Result<String, CommandFailure> {
    let mut roff = Vec::new();
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let source = concat!("gqos ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).title(name).date(date()).source(source).manual("gqos");
    page.render(&mut roff).map_err(|error| CommandFailure::os("write", "a manual page", error))?;
    // It is made of the help, which is text. A line break beside a paragraph break has no effect, and mandoc warns of it.
    Ok(String::from_utf8_lossy(&roff).replace("\n.br\n\n.br\n", "\n.sp\n"))
}

fn write_all(command: &Command, directory: &Path) -> Result<(), CommandFailure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    write(&directory.join(format!("{name}.1")), page(command)?)?;
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands
        .filter(|command| command.get_name() != "help")
        .try_for_each(|command| write_all(command, directory))
}
