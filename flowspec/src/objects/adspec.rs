//! RSVP_ADSPEC in Winsock's layout: the services and parameters of a path.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Rate};

/// AD_GENERAL_PARAMS.MinimumLatency: unknown. Source: `qossp.h`.
pub const INDETERMINATE_LATENCY: u32 = 0xFFFF_FFFF;

/// RSVP_ADSPEC. Its form on the wire is in [`rsvp`](crate::rsvp). Source: `qossp.h`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adspec {
    /// They hold for each service that does not override them.
    pub general_params: GeneralParams,
    /// What the path offers beyond best effort, one entry a service.
    #[serde(default)]
    pub services: Vec<ControlService>,
}

/// AD_GENERAL_PARAMS. Source: `qossp.h`; RFC 2215 section 3.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneralParams {
    /// IntServAwareHopCount: the routers of the path that implement IntServ.
    pub int_serv_aware_hop_count: u32,
    /// PathBandwidthEstimate, bytes per second.
    pub path_bandwidth: Rate,
    /// MinimumLatency, microseconds; [`INDETERMINATE_LATENCY`] where it is not known.
    pub minimum_latency: u32,
    /// PathMTU: the largest IP packet that each link of the path carries.
    pub path_mtu: Bytes,
    /// Flags: bit 0 is set where some element of the path does not implement the service.
    pub flags: u32,
}

/// CONTROL_SERVICE. Source: `qossp.h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlService {
    /// Service: IntServ's number, 2 for guaranteed, 5 for controlled load.
    pub service: u32,
    /// Overrides: the parameters of this service, in place of the general ones.
    pub overrides: GeneralParams,
    /// Guaranteed: zero for any other service.
    pub guaranteed: GuaranteedParams,
}

/// AD_GUARANTEED: the error terms of a path. Source: `qossp.h`; RFC 2212.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuaranteedParams {
    /// CTotal, bytes.
    pub c_total: u32,
    /// DTotal, microseconds.
    pub d_total: u32,
    /// CSum, bytes, since the last reshaping.
    pub c_sum: u32,
    /// DSum, microseconds, since the last reshaping.
    pub d_sum: u32,
}

/// AD_GENERAL_PARAMS' size in both ABIs.
pub(super) const GENERAL_PARAMS_SIZE: usize = 20;
/// CONTROL_SERVICE's size in both ABIs.
pub(super) const CONTROL_SERVICE_SIZE: usize = 44;

impl GeneralParams {
    pub(super) fn from_words(words: [u32; 5]) -> Self {
        let [hops, bandwidth, minimum_latency, mtu, flags] = words;
        Self {
            int_serv_aware_hop_count: hops,
            path_bandwidth: Rate::new(u64::from(bandwidth)),
            minimum_latency,
            path_mtu: Bytes::new(u64::from(mtu)),
            flags,
        }
    }

    /// The parameters' words. A value above 32 bits becomes the largest that fits; the check of the written bytes then
    /// fails.
    pub(super) fn words(&self) -> [u32; 5] {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        [
            self.int_serv_aware_hop_count,
            narrow(self.path_bandwidth.get()),
            self.minimum_latency,
            narrow(self.path_mtu.get()),
            self.flags,
        ]
    }
}
