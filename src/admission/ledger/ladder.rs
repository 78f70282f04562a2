//! A request with several renditions: one request of its client, of which the first that fits is admitted.

use super::state::Ledger;
use crate::admission::operation::Ladder;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::admission::response::RefusedRendition;

/// What became of the renditions of a request.
pub(crate) struct Tried {
    /// The grant, or the refusal of the best rendition.
    pub(crate) result: Result<Grant, Refusal>,
    /// Which rendition was admitted, where that is not the best one.
    pub(crate) rendition: Option<String>,
    /// Why each rendition was refused that was tried, best first; empty where there is only one rendition.
    pub(crate) refused: Vec<RefusedRendition>,
}

impl Ledger {
    /// Admits the best rendition that fits. Renditions are tried until one fits, unless the refusal is the same for each.
    pub(crate) fn climb(&mut self, ladder: &Ladder) -> Tried {
        let Ladder { request, first, renditions } = ladder;
        let counted = self.count_request(request.client.as_deref());
        let best = match counted.and_then(|()| self.admit_counted(request)) {
            Err(refusal) if !renditions.is_empty() && refusal.depends_on_rendition() => refusal,
            result => return Tried { result, rendition: None, refused: Vec::new() },
        };
        let mut refused = vec![RefusedRendition { name: first.clone(), refusal: best.clone() }];
        for (name, qos) in renditions {
            match self.admit_counted(&Request { qos: *qos, ..request.clone() }) {
                Ok(grant) => return Tried { result: Ok(grant), rendition: Some(name.clone()), refused },
                Err(refusal) => refused.push(RefusedRendition { name: name.clone(), refusal }),
            }
        }
        Tried { result: Err(best), rendition: None, refused }
    }
}
