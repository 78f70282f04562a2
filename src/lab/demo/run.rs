//! Runs both phases.

use std::time::Duration;

use super::error::DemoError;
use super::options::Options;
use super::phase::RunningPhase;
use super::result::{DemoResult, PhaseName, PhaseProgress};
use crate::lab::network::LabNetwork;
use crate::lab::service::CONGESTION_CONTROL;

/// Between the phases the wire's queue empties.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs both phases.
///
/// `namespace` is called once, with the path of the server's network namespace; `progress` about twice a second.
///
/// - **Errors**: the lab or the service could not be set up.
pub async fn run(
    options: Options,
    mut namespace: impl FnMut(&str),
    mut progress: impl FnMut(&PhaseProgress),
) -> Result<DemoResult, DemoError> {
    let link = options.link;
    let network = tokio::task::spawn_blocking(move || LabNetwork::new(link)).await??;
    namespace(&network.server.namespace_path());
    let mut phases = Vec::new();
    for name in [PhaseName::Unmanaged, PhaseName::Managed] {
        let phase = RunningPhase::start(&options, &network, name).await?;
        phases.push(phase.run(&options, &network, &mut progress).await?);
        // Packets of one phase must not be measured in the next.
        tokio::time::sleep(DRAIN).await;
    }
    // The threads of the sites are joined on a thread that may block.
    tokio::task::spawn_blocking(move || drop(network)).await?;
    Ok(DemoResult { link_bytes_per_second: link, congestion_control: CONGESTION_CONTROL, phases })
}
