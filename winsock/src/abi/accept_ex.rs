//! AcceptEx and DisconnectEx.

use std::sync::{Arc, Mutex, PoisonError};

use flowspec::{Direction, Wsa};

use super::handle::endpoint;
use super::sockaddr::{SOCKADDR_IN, SOCKADDR_IN6, bytes_of};
use super::{Address, memory, overlapped};
use crate::Result;
use crate::adopt::AcceptedConnection;
use crate::blocking::with_blocking;
use crate::endpoint::Endpoint;
use crate::operations::Completion;
use crate::protocol::Family;
use crate::provider::provider;
use crate::sys::{ForeignMemory, MessageFlags, ShutdownHow};

/// An address needs this much more than its structure has.
const ADDRESS_EXTRA: u32 = 16;

/// The offset of an address in its part of the output, behind its length.
const ADDRESS_OFFSET: usize = 8;

/// TF_REUSE_SOCKET.
const REUSE_SOCKET: u32 = 2;

/// An AcceptEx that is under way.
struct AcceptEx {
    listener: Arc<Endpoint>,
    socket: Arc<Endpoint>,
    /// Data, then the local address, then the remote one.
    output: Address,
    data_length: u32,
    local_length: u32,
}

impl AcceptEx {
    /// Waits for a connection, then gives it to the socket, then waits for the first data.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    fn start(self, completion: Completion) -> Result<()> {
        let taken = Arc::new(Mutex::new(None::<AcceptedConnection>));
        let slot = Arc::clone(&taken);
        let listener = Arc::clone(&self.listener);
        let attempt = Box::new(move |listener: &Arc<Endpoint>| {
            let connection = listener.take_connection()?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
            Ok(0)
        });
        let accepted = Box::new(move |result| {
            let connection = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (result, connection, provider()) {
                // A reservation waits for the reactor, on which this runs.
                (Ok(_), Some(connection), Ok(provider)) => {
                    provider
                        .host
                        .spawn_blocking(move || with_blocking(|| self.adopt(connection, completion)));
                }
                (Err(code), ..) => completion(Err(code)),
                _ => completion(Err(Wsa::OperationAborted)),
            }
        });
        listener.start_operation(Direction::Receiving, attempt, accepted)
    }

    fn adopt(self, connection: AcceptedConnection, completion: Completion) {
        match self.socket.adopt(connection, &self.listener) {
            Ok(()) => {}
            // The connection was refused its reservation: this waits for the next one. An error means that the
            // provider was cleaned up, which has aborted the operation.
            Err(Wsa::Eopnotsupp) => {
                let _ = self.start(completion);
                return;
            }
            Err(code) => return completion(Err(code)),
        }
        if let Err(code) = self.write_addresses() {
            return completion(Err(code));
        }
        if self.data_length == 0 {
            return completion(Ok(0));
        }
        let buffer = ForeignMemory::new(self.output, self.data_length as usize);
        let attempt = Box::new(move |socket: &Arc<Endpoint>| {
            let received =
                socket.receive_into(buffer.into(), MessageFlags::default(), crate::receive::From::Peer)?;
            memory::length_u32(received.length)
        });
        // An error means that the provider was cleaned up, which has aborted the operation.
        let _ = self.socket.start_operation(Direction::Receiving, attempt, completion);
    }

    fn write_addresses(&self) -> Result<()> {
        let local = self.output.offset(self.data_length as usize);
        let remote = local.offset(self.local_length as usize);
        for (at, address) in [(local, self.socket.local_address()?), (remote, self.socket.peer_address()?)] {
            let bytes = bytes_of(address);
            memory::write_u32(at, memory::length_u32(bytes.len())?)?;
            memory::write(at.offset(ADDRESS_OFFSET), &bytes)?;
        }
        Ok(())
    }
}

struct AcceptExCall {
    listener: usize,
    socket: usize,
    output: Address,
    data_length: u32,
    local_length: u32,
    remote_length: u32,
    received: Address,
    overlapped: Address,
}

impl AcceptExCall {
    fn run(&self) -> Result<i32> {
        let (listener, socket) = (endpoint(self.listener)?, endpoint(self.socket)?);
        if self.overlapped.is_null() {
            return Err(Wsa::InvalidParameter);
        }
        let size = match listener.family {
            Family::Inet => SOCKADDR_IN,
            Family::Inet6 => SOCKADDR_IN6,
        };
        let needed = memory::length_u32(size)? + ADDRESS_EXTRA;
        if self.output.is_null() || self.local_length < needed || self.remote_length < needed {
            return Err(Wsa::Efault);
        }
        if !listener.is_listening() {
            return Err(Wsa::Einval);
        }
        socket.await_adoption(&listener)?;
        let completion = self.begin().inspect_err(|_| socket.end_await_adoption())?;
        let awaiting = Arc::clone(&socket);
        // The program may use the socket again once it sees the completion.
        let completion: Completion = Box::new(move |result| {
            awaiting.end_await_adoption();
            completion(result);
        });
        let Self { output, data_length, local_length, .. } = *self;
        AcceptEx { listener, socket, output, data_length, local_length }.start(completion)?;
        Err(Wsa::IoPending)
    }

    /// Begins the overlapped operation.
    fn begin(&self) -> Result<Completion> {
        if !self.received.is_null() {
            memory::write_u32(self.received, 0)?;
        }
        overlapped::begin(self.overlapped, None)
    }
}

/// Writes a pointer to an address in the output of AcceptEx, and its length.
fn write_address(at: Address, pointer: Address, length: Address) -> Result<()> {
    let size = memory::read_u32(at)?;
    memory::write(pointer, &at.offset(ADDRESS_OFFSET).get().to_ne_bytes())?;
    memory::write_u32(length, size)
}

fn disconnect(s: usize, flags: u32) -> Result<u32> {
    let endpoint = endpoint(s)?;
    endpoint.shutdown(ShutdownHow::Both)?;
    if flags & REUSE_SOCKET != 0 {
        endpoint.reopen()?;
    }
    Ok(0)
}

c_functions! {
    /// AcceptEx. Completes once a connection was made and, where it has space for data, the first data has arrived.
    api gqos_AcceptEx(
        listener: usize, socket: usize, output: Address, data_length: u32, local_length: u32, remote_length: u32,
        received: Address, overlapped: Address,
    ) -> i32, or 0
        => AcceptExCall { listener, socket, output, data_length, local_length, remote_length, received, overlapped }.run();
    /// DisconnectEx. It does not wait for data on its way: with TF_REUSE_SOCKET the SOCKET is as new at once.
    api gqos_DisconnectEx(s: usize, overlapped: Address, flags: u32, _reserved: u32) -> i32, or 0 => {
        if flags & !REUSE_SOCKET != 0 {
            return Err(Wsa::Einval);
        }
        let result = disconnect(s, flags)?;
        if !overlapped.is_null() {
            overlapped::begin(overlapped, None)?(Ok(result));
        }
        Ok(1)
    };
}

/// GetAcceptExSockaddrs: the addresses in the output of an AcceptEx that has completed.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_GetAcceptExSockaddrs(
    output: Address,
    data_length: u32,
    local_length: u32,
    _remote_length: u32,
    local: Address,
    local_size: Address,
    remote: Address,
    remote_size: Address,
) {
    let local_at = output.offset(data_length as usize);
    // The function returns nothing: after an error the program's pointers are as they were.
    let _ = write_address(local_at, local, local_size)
        .and_then(|()| write_address(local_at.offset(local_length as usize), remote, remote_size));
}
