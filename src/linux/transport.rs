//! The socket below a netlink connection: a system call that fails does not end the connection.
//!
//! A call that fails is repeated after a pause that grows. A request that cannot be sent is answered here with the error
//! number: the kernel has not seen it. Where the kernel has lost an answer, the requests that are not answered once
//! everything it still has was read get an overrun as their answer: whether they were carried out is not known.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use flowspec::Errno;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_MULTIPART};
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use tokio::time::Sleep;

use crate::ordered::OrderedMap;

/// Lets system calls of a connection fail, for tests of what follows.
pub trait Faults: fmt::Debug + Send + Sync {
    /// The error of the next attempt to send a request; `None` lets it reach the kernel.
    fn send(&self) -> Option<Errno>;

    /// The fault of the next attempt to receive; `None` gives what the kernel has.
    fn receive(&self) -> Option<ReceiveFault>;
}

/// An attempt to receive that fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceiveFault {
    /// The error number.
    pub errno: Errno,
    /// Whether the datagram is lost. Otherwise the next attempt receives it.
    pub is_lost: bool,
}

/// A netlink socket whose calls are repeated.
pub(super) struct RouteSocket {
    socket: TokioSocket,
    state: RefCell<TransportState>,
    faults: Option<Arc<dyn Faults>>,
}

#[derive(Default)]
struct TransportState {
    /// The requests without their last answer, by number; whether that is an acknowledgement.
    unanswered: OrderedMap<u32, bool>,
    /// What is received next, before anything of the kernel.
    made: VecDeque<Vec<u8>>,
    /// The datagram that was received last.
    datagram: Vec<u8>,
    /// Whether the kernel has lost something that it had to deliver.
    has_lost: bool,
    sending: Attempts,
    receiving: Attempts,
}

/// The attempts at one system call.
#[derive(Default)]
struct Attempts {
    failed: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

/// The pauses before a call is repeated, in milliseconds.
const PAUSES: [u64; 7] = [0, 0, 1, 2, 5, 10, 20];

/// The buffer for a datagram: the kernel's are at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// `struct nlmsghdr`, and the types of messages without an object. Source: netlink(7).
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

impl RouteSocket {
    pub(super) const fn new(socket: TokioSocket, faults: Option<Arc<dyn Faults>>) -> Self {
        let state = TransportState {
            unanswered: OrderedMap::new(),
            made: VecDeque::new(),
            datagram: Vec::new(),
            has_lost: false,
            sending: Attempts { failed: 0, pause: None },
            receiving: Attempts { failed: 0, pause: None },
        };
        Self { socket, state: RefCell::new(state), faults }
    }

    fn send_once(&self, cx: &mut Context<'_>, buf: &[u8], addr: &SocketAddr) -> Poll<io::Result<usize>> {
        match self.faults.as_ref().and_then(|faults| faults.send()) {
            Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno.get()))),
            None => self.socket.poll_send_to(cx, buf, addr),
        }
    }

    /// Receives one datagram into the state.
    fn receive_once(&self, cx: &mut Context<'_>, state: &mut TransportState) -> Poll<io::Result<SocketAddr>> {
        state.datagram.clear();
        state.datagram.reserve(DATAGRAM);
        let received = ready!(self.socket.poll_recv_from(cx, &mut state.datagram));
        let fault = self.faults.as_ref().and_then(|faults| faults.receive());
        Poll::Ready(match (received, fault) {
            (Ok(_), Some(ReceiveFault { errno, is_lost })) => {
                if !is_lost {
                    state.made.push_back(std::mem::take(&mut state.datagram));
                }
                Err(io::Error::from_raw_os_error(errno.get()))
            }
            (received, _) => received,
        })
    }
}

impl AsyncSocket for RouteSocket {
    fn socket_ref(&self) -> &Socket {
        self.socket.socket_ref()
    }

    fn socket_mut(&mut self) -> &mut Socket {
        self.socket.socket_mut()
    }

    fn new(protocol: isize) -> io::Result<Self> {
        Ok(Self::new(TokioSocket::new(protocol)?, None))
    }

    fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_to(cx, buf, &SocketAddr::new(0, 0))
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], addr: &SocketAddr) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        loop {
            ready!(state.sending.poll_pause(cx));
            let error = match ready!(self.send_once(cx, buf, addr)) {
                Ok(sent) => {
                    state.sending = Attempts::default();
                    state.sent(buf);
                    return Poll::Ready(Ok(sent));
                }
                Err(error) => error,
            };
            if !state.sending.is_repeated() {
                state.sending = Attempts::default();
                state.refuse(buf, &error)?;
                // What was made is read by the task that sends.
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(buf.len()));
            }
        }
    }

    fn poll_recv<B: BufMut>(&self, cx: &mut Context<'_>, buf: &mut B) -> Poll<io::Result<()>> {
        self.poll_recv_from(cx, buf).map_ok(drop)
    }

    fn poll_recv_from<B: BufMut>(&self, cx: &mut Context<'_>, buf: &mut B) -> Poll<io::Result<SocketAddr>> {
        let mut state = self.state.borrow_mut();
        loop {
            ready!(state.receiving.poll_pause(cx));
            if let Some(made) = state.made.pop_front() {
                state.answered(&made);
                buf.put_slice(&made);
                return Poll::Ready(Ok(SocketAddr::new(0, 0)));
            }
            match self.receive_once(cx, &mut state) {
                Poll::Ready(Ok(from)) => {
                    state.receiving = Attempts::default();
                    let datagram = std::mem::take(&mut state.datagram);
                    if from.port_number() == 0 {
                        state.answered(&datagram);
                    }
                    buf.put_slice(&datagram);
                    state.datagram = datagram;
                    return Poll::Ready(Ok(from));
                }
                Poll::Ready(Err(error)) => {
                    state.has_lost |= error.raw_os_error() == Some(Errno::ENOBUFS.get());
                    if !state.receiving.is_repeated() {
                        return Poll::Ready(Err(error));
                    }
                }
                // The kernel has nothing more: what is not answered by now was lost.
                Poll::Pending if std::mem::take(&mut state.has_lost) => state.overrun(),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_recv_from_full(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        let mut datagram = Vec::new();
        self.poll_recv_from(cx, &mut datagram).map_ok(|from| (datagram, from))
    }
}

impl TransportState {
    /// Requests have reached the kernel.
    fn sent(&mut self, datagram: &[u8]) {
        for header in headers(datagram) {
            self.unanswered.insert(header.number, header.flags & NLM_F_ACK != 0);
        }
    }

    /// Answers were received.
    fn answered(&mut self, datagram: &[u8]) {
        for header in headers(datagram) {
            let is_last = match header.kind {
                NLMSG_ERROR | NLMSG_DONE | NLMSG_OVERRUN => true,
                _ if header.flags & NLM_F_MULTIPART != 0 => false,
                _ => self.unanswered.get(&header.number) == Some(&false),
            };
            if is_last {
                self.unanswered.remove(&header.number);
            }
        }
    }

    /// Answers requests that could not be sent with the error.
    ///
    /// - **Errors**: the error itself, where the socket can no longer be used.
    fn refuse(&mut self, datagram: &[u8], error: &io::Error) -> io::Result<()> {
        let errno = error.raw_os_error().unwrap_or_default();
        if [0, Errno::EBADF.get(), Errno::ENOTSOCK.get()].contains(&errno) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        for header in headers(datagram) {
            // Its body is the error number and the header of the request.
            let body = [&(-errno).to_ne_bytes()[..], header.bytes].concat();
            self.made.push_back(message(NLMSG_ERROR, header.number, &body));
        }
        Ok(())
    }

    /// Answers requests whose answers were lost, and says so to what listens.
    fn overrun(&mut self) {
        let numbers = std::mem::take(&mut self.unanswered).into_iter().map(|(number, _)| number);
        self.made.extend(numbers.chain([0]).map(|number| message(NLMSG_OVERRUN, number, &[])));
    }
}

impl Attempts {
    /// Whether a call that has failed is repeated.
    fn is_repeated(&mut self) -> bool {
        let pause = PAUSES.get(self.failed).copied();
        self.failed += 1;
        let pause = pause.filter(|pause| *pause > 0).map(Duration::from_millis);
        self.pause = pause.map(|pause| Box::pin(tokio::time::sleep(pause)));
        self.failed <= PAUSES.len()
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

struct MessageHeader<'a> {
    kind: u16,
    flags: u16,
    /// The number of the request, which its answers repeat.
    number: u32,
    bytes: &'a [u8],
}

fn headers(datagram: &[u8]) -> impl Iterator<Item = MessageHeader<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let bytes = rest.get(..HEADER)?;
        let (length, fields) = bytes.split_first_chunk::<4>()?;
        let (kind, fields) = fields.split_first_chunk::<2>()?;
        let (flags, fields) = fields.split_first_chunk::<2>()?;
        let (number, _) = fields.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?.max(HEADER);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let (kind, flags) = (u16::from_ne_bytes(*kind), u16::from_ne_bytes(*flags));
        Some(MessageHeader { kind, flags, number: u32::from_ne_bytes(*number), bytes })
    })
}

/// A message of the kernel to this socket.
fn message(kind: u16, number: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let (flags, port) = (0_u16, 0_u32);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u32, flags: u16) -> Vec<u8> {
        let mut bytes = message(16, number, &[1, 2, 3, 4]);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_request_is_answered_by_its_last_message() {
        let mut state = TransportState::default();
        state.sent(&[request(1, 0), request(2, NLM_F_ACK), request(3, 0)].concat());
        state.answered(&request(2, 0));
        state.answered(&request(3, NLM_F_MULTIPART));
        assert_eq!(state.unanswered.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        state.answered(&request(1, 0));
        state.answered(&[message(NLMSG_ERROR, 2, &[0; 20]), message(NLMSG_DONE, 3, &[0; 4])].concat());
        assert!(state.unanswered.is_empty(), "{:?}", state.unanswered);
    }

    #[test]
    fn what_was_lost_is_answered_with_an_overrun_and_what_was_not_sent_with_its_error() {
        let mut state = TransportState::default();
        state.sent(&request(7, NLM_F_ACK));
        state.overrun();
        let made: Vec<_> = state.made.drain(..).collect();
        assert_eq!(made, [message(NLMSG_OVERRUN, 7, &[]), message(NLMSG_OVERRUN, 0, &[])]);
        let unsent = request(8, NLM_F_ACK);
        state.refuse(&unsent, &io::Error::from_raw_os_error(1)).unwrap();
        let body = [&(-1_i32).to_ne_bytes()[..], &unsent[..HEADER]].concat();
        assert_eq!(state.made, [message(NLMSG_ERROR, 8, &body)]);
        assert!(state.refuse(&unsent, &io::Error::from_raw_os_error(9)).is_err(), "the socket is closed");
    }
}
