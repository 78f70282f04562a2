//! `gqos explain`: says what a code means.

use std::process::ExitCode;

use anyhow::anyhow;
use gqos::policy::Code;

use super::diagnostics::severity;
use super::failure::{CommandFailure, Exit};
use super::output::print;

/// Explain a code that `gqos check` or `gqos test` has printed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The code, such as GQ0005; without it, all codes are listed.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let Some(name) = &arguments.code else {
        for &code in Code::ALL {
            print(&format!("{code}  {:<7}  {}\n", severity(code), code.title()))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(&code) = Code::ALL.iter().find(|code| code.id().eq_ignore_ascii_case(name)) else {
        let error = anyhow!("there is no code {name:?}; `gqos explain` lists all codes");
        return Err(CommandFailure::new(Exit::Usage, error));
    };
    print(&format!("{code}: {} ({})\n\n{}\n", code.title(), severity(code), code.explanation()))?;
    Ok(ExitCode::SUCCESS)
}
