//! The links by which the packets of requests leave, as the routes say.

use std::sync::Arc;

use super::core::lock;
use super::error::EngineError;
use super::local::LocalEngine;
use super::request::ReservationRequest;
use crate::linux::{Link, RouteQuery};

impl LocalEngine {
    /// The link by which packets leave.
    pub(super) async fn link(&self, query: RouteQuery) -> Result<Arc<Link>, EngineError> {
        Ok(self.routes.find(&*self.kernel, query, |link| self.under_known_name(link)).await?)
    }

    /// The link by which the packets of a request leave: the one that it names, else the route's.
    pub(super) async fn link_for(&self, request: &ReservationRequest) -> Result<Arc<Link>, EngineError> {
        if let Some(name) = &request.interface
            && let Some(link) = self.kernel.link(name).await?
        {
            return Ok(Arc::new(self.under_known_name(link)));
        }
        self.link(request.route()).await
    }

    /// Whether there is a link of this name, by which a request without a peer can leave.
    ///
    /// - **Errors**: the kernel's.
    pub async fn has_link(&self, name: &str) -> Result<bool, EngineError> {
        Ok(self.kernel.link(name).await?.is_some())
    }

    /// A link that was renamed has its budget under the name by which it was seen.
    fn under_known_name(&self, mut link: Link) -> Link {
        if let Some(name) = lock(self.core()).manager.interface(link.index)
            && name != link.name
        {
            link.name = name.to_owned();
        }
        link
    }
}
