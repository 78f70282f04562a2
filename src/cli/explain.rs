//! `gqos explain`: what a code means.

use std::process::ExitCode;

use gqos::policy::{Code, Severity};

use super::{Failure, USAGE, say};

/// Say more about a code that `gqos check` or `gqos test` has printed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The code: GQ0005. All of them where it is absent.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let severity = |code: Code| match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let Some(name) = &arguments.code else {
        for code in Code::ALL {
            say(&format!("{code}  {:<7}  {}\n", severity(code), code.title()))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(code) = Code::ALL.into_iter().find(|code| code.id().eq_ignore_ascii_case(name)) else {
        let error = anyhow::anyhow!("there is no code {name:?}; `gqos explain` lists them");
        return Err(Failure::new(USAGE, error));
    };
    say(&format!("{code}: {} ({})\n\n{}\n", code.title(), severity(code), code.explanation()))?;
    Ok(ExitCode::SUCCESS)
}
