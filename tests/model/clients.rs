//! How many requests each client may still make.

use crate::policy::CLIENT_REQUESTS;
use crate::recount::Recount;

/// What a request takes of a client's requests, in millionths.
const REQUEST: u64 = 1_000_000;

/// What is left of a client's requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    /// In millionths of a request.
    left: u64,
    /// Up to when what comes with time has been added.
    at: u64,
}

impl Recount {
    /// Counts a request. Returns whether the client may make it.
    pub(crate) fn count_request(&mut self, client: Option<&str>) -> bool {
        let Some(client) = client.filter(|_| self.variant.limits_requests) else { return true };
        let now = self.now;
        let full = Requests { left: CLIENT_REQUESTS * REQUEST, at: now };
        let requests = self.requests.entry(client.to_owned()).or_insert(full);
        requests.left = full.left.min(requests.left + (now - requests.at) * CLIENT_REQUESTS);
        requests.at = now;
        let is_allowed = requests.left >= REQUEST;
        if is_allowed {
            requests.left -= REQUEST;
        }
        is_allowed
    }
}
