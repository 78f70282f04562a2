//! A step of a test: what happens, and what is to come of it.

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Rate, Share};

use crate::policy::{Owner, Place, Protocol};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Time,
    pub(super) action: Action,
    pub(super) expect: Option<Expect>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    At(Micros),
    After(Micros),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Flows that ask for a reservation, one after the other.
    Connect(Box<Connect>),
    Renegotiate {
        id: Names,
        template: Option<String>,
        asked: Box<Both<Option<Flowspec>>>,
    },
    Refresh {
        id: Names,
        time_to_live: Micros,
    },
    Close(Names),
    Capacity {
        interface: String,
        direction: Direction,
        capacity: Rate,
    },
    /// What the flows of a class were measured to send.
    Measure {
        interface: String,
        class: String,
        window: Micros,
        rate: Both<Rate>,
    },
    /// Another policy, relative to the file.
    Reload(String),
    /// A client vanishes with all its flows.
    Crash(String),
    Wait,
    /// Measured on the private network only.
    Transfer(Transfer),
}

/// What is sent for real.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) id: String,
    /// How long it is measured; until so much has been sent, if less.
    pub(super) duration: Micros,
    pub(super) bytes: Option<Bytes>,
}

/// A name, or several: `v{n}` for 1 and so on.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) pattern: String,
    pub(super) repeat: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) id: Names,
    pub(super) interface: String,
    pub(super) class: Option<String>,
    pub(super) group: Option<String>,
    pub(super) client: Option<String>,
    pub(super) owner: Owner,
    pub(super) templates: Vec<String>,
    pub(super) sending: Option<Flowspec>,
    pub(super) receiving: Option<Flowspec>,
    /// From now.
    pub(super) start: Option<Micros>,
    pub(super) duration: Option<Micros>,
    pub(super) time_to_live: Option<Micros>,
    pub(super) wait: bool,
    pub(super) setup_priority: Option<u8>,
    pub(super) holding_priority: Option<u8>,
    /// What a rule is asked about, where the caller names nothing.
    pub(super) protocol: Option<Protocol>,
    pub(super) local_port: Option<u16>,
    pub(super) peer: Option<String>,
}

/// What is to come of a step; what is absent is not looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) admitted: Option<bool>,
    pub(super) error: Option<String>,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) rendition: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) reserved: Option<Both<Option<Rate>>>,
    pub(super) available: Option<Both<Option<Rate>>>,
    pub(super) charged: Option<Both<Option<Rate>>>,
    pub(super) would_fit: Option<Rate>,
    pub(super) preempted: Option<Vec<String>>,
    pub(super) shed: Option<Vec<String>>,
    pub(super) expired: Option<Vec<String>>,
    pub(super) notified: Option<Vec<String>>,
    pub(super) waiting: Option<bool>,
    pub(super) flows: Option<u64>,
    /// Of a transfer, IP headers included, with what it may differ by.
    pub(super) rate: Option<(Rate, Share)>,
    pub(super) place: Place,
}

impl Names {
    /// Each name.
    pub(super) fn each(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.repeat).map(|number| self.pattern.replace("{n}", &number.to_string()))
    }
}
