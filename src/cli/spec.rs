//! Flowspecs as arguments: `--send` and `--receive`.

use flowspec::{Direction, Flowspec};
use gqos::policy::{FlowspecProblem, flowspec_of_argument};
use thiserror::Error;

/// All problems of a flowspec's text.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub(super) struct SpecProblems(Vec<FlowspecProblem>);

/// The sending flowspec of a text.
pub(super) fn sending(text: &str) -> Result<Flowspec, SpecProblems> {
    flowspec_of_argument(text, Direction::Sending).map_err(SpecProblems)
}

/// The receiving flowspec of a text.
pub(super) fn receiving(text: &str) -> Result<Flowspec, SpecProblems> {
    flowspec_of_argument(text, Direction::Receiving).map_err(SpecProblems)
}
