//! `gqos replay`: a trace of requests in, one decision a line out.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use gqos::manager::DryRun;
use gqos::scenario::{LONGEST_LINE, TraceReader};

use super::{Failure, INVALID_FILE, OS_ERROR, load_policy};

/// Replay a trace of requests in virtual time: one decision a line.
///
/// Last night's requests against tomorrow's policy: the same lines give the same bytes. A refusal is an
/// answer, and the exit code is 0; a line that is no request ends the replay with 78.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files merge.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// The trace, JSON lines; standard input where it is absent or "-".
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let policy = Arc::new(load_policy(&arguments.policy)?);
    let path = arguments.trace.as_ref().filter(|path| path.as_os_str() != "-");
    let name = path.map_or("standard input".into(), |path| path.display().to_string());
    let reader: Box<dyn Read> = match path {
        Some(path) => {
            let file = std::fs::File::open(path);
            Box::new(file.map_err(|error| Failure::new(OS_ERROR, anyhow!("open {name}: {error}")))?)
        }
        None => Box::new(std::io::stdin().lock()),
    };
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let mut output = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut manager = DryRun::new(Arc::clone(&policy));
    let mut text = String::new();
    let mut lines = TraceReader::new(&policy);
    let mut number = 0_u64;
    let written = loop {
        text.clear();
        number += 1;
        let failure = |problem: String| Failure::new(INVALID_FILE, anyhow!("{name}:{number}: {problem}"));
        let limit = LONGEST_LINE as u64 + 1;
        match reader.by_ref().take(limit).read_line(&mut text) {
            Ok(0) => break output.flush(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                // What was decided before it is told.
                drop(output.flush());
                return Err(failure("not UTF-8".into()));
            }
            Err(error) => return Err(Failure::new(OS_ERROR, anyhow!("read {name}: {error}"))),
        }
        let traced = match lines.read(&text) {
            Ok(Some(traced)) => traced,
            Ok(None) => continue,
            Err(error) => {
                drop(output.flush());
                return Err(failure(error.to_string()));
            }
        };
        let decision = traced.decide_by_manager(&mut manager);
        let line = serde_json::to_string(&decision).map_err(|error| failure(error.to_string()))?;
        if let Err(error) = writeln!(output, "{line}") {
            break Err(error);
        }
    };
    match written {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(OS_ERROR, anyhow!("write standard output: {error}"))),
    }
}
