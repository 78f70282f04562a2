//! `[daemon]`: how the daemon is reached, and what one user may take of it.

use flowspec::Micros;

use super::http::HttpAddress;
use super::place::Place;

/// The settings of the daemon. They are read when it starts; a reload changes `group` alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DaemonPolicy {
    /// The path of the control socket, unless the command line names another.
    pub socket: Option<String>,
    /// The group whose members may call administrative methods, beside root.
    pub group: Option<String>,
    /// How many connections one user may have.
    pub connections_per_user: Option<usize>,
    /// How many reservations one user may hold.
    pub flows_per_user: Option<usize>,
    /// How many calls a second one user may make.
    pub calls_per_second: Option<u32>,
    /// How long what a killed daemon has granted waits for its clients.
    pub grace: Option<Micros>,
    /// What clients do while no daemon answers.
    pub degrade: Option<Degrade>,
    /// Where metrics, health and the status page are served by HTTP; nowhere where it is `None`.
    pub http: Option<HttpAddress>,
    /// Where the table is defined.
    pub place: Place,
}

/// What a client does while no daemon answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Degrade {
    /// Connections fail with WSAENETDOWN.
    Refuse,
    /// Connections are best effort.
    BestEffort,
}

impl Degrade {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 2] = [("refuse", Self::Refuse), ("best_effort", Self::BestEffort)];
}
