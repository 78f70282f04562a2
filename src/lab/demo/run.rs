//! Runs both phases.

use std::time::Duration;

use super::options::{DemoError, Options};
use super::phase::RunningPhase;
use super::result::{Outcome, PhaseName, Progress};
use crate::lab::network::Network;
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
    mut progress: impl FnMut(&Progress),
) -> Result<Outcome, DemoError> {
    let link = options.link;
    let network = tokio::task::spawn_blocking(move || Network::new(link)).await??;
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
    Ok(Outcome { link_bytes_per_second: link, congestion_control: CONGESTION_CONTROL, phases })
}
