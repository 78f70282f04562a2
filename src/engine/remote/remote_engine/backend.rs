//! What a reservation asks of the daemon that holds it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::calls;
use super::super::connection::OnReply;
use super::{PATIENCE, RemoteEngine};
use crate::control::{FlowId, MethodCall};
use crate::engine::handle::EngineFuture;
use crate::engine::lingering::Lingering;
use crate::engine::peer::PeerSocket;
use crate::engine::reservation::{AttachedSocket, ReservationBackend, ReservationState, Usage};
use crate::policy::PeerTimeouts;

impl ReservationBackend for RemoteEngine {
    fn connected(&self, id: &str) {
        self.held.connected(id);
        self.send(MethodCall::Commit(FlowId { id: id.to_owned() }));
    }

    fn release(&self, id: String, lingering: Lingering, usage: Usage) {
        let slice = self.held.remove(&id);
        let release = calls::release(id.clone(), usage, false);
        let Some(engine) = self.me.upgrade().filter(|_| !matches!(lingering, Lingering::Nothing)) else {
            return self.send_release((&id, slice), release);
        };
        self.runtime.spawn(async move {
            lingering.finish().await;
            engine.send_release((&id, slice), release);
        });
    }

    fn peer_gone(&self, id: String, usage: Usage) {
        let slice = self.held.remove(&id);
        self.send_release((&id, slice), calls::release(id.clone(), usage, true));
    }

    fn watch(&self, flow: (&str, &Arc<ReservationState>), socket: PeerSocket, timeouts: PeerTimeouts) {
        self.watches.add(flow, socket, timeouts, self.now());
    }

    fn unwatch(&self, state: &Arc<ReservationState>) {
        self.watches.remove(state);
    }

    fn marks_sockets(&self) -> bool {
        true
    }

    fn attach(&self, id: &str, socket: AttachedSocket) {
        if let Some(connection) = self.open_connection().filter(|_| self.held.is_to_attach(id)) {
            let (reply, answered) = oneshot::channel();
            self.held.attaching(id, answered);
            // Nothing may wait for it.
            let on_reply: OnReply = Box::new(move |_| {
                let _ = reply.send(());
            });
            self.attach_to(&connection, id, (Some(&socket), on_reply));
        }
        self.held.attached(id, socket);
    }

    fn attached<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            // A flow in a slice waits for nothing.
            if let Some(answered) = self.held.take_attaching(id)
                && self.held.slice(id).is_none()
            {
                // A daemon that does not answer, or is gone, holds up no flow: its socket is attached later, or never.
                let _ = tokio::time::timeout(PATIENCE, answered).await;
            }
        })
    }
}
