//! ConnectEx.

use flowspec::Wsa;

use super::handle::endpoint;
use super::{Address, memory, overlapped, sockaddr};
use crate::Result;
use crate::connect::ConnectRequest;
use crate::sys::{ForeignMemory, MessageFlags};

/// A connection with data that is sent once it is made.
struct ConnectEx {
    s: usize,
    name: Address,
    name_length: i32,
    data: ForeignMemory,
    sent: Address,
    overlapped: Address,
}

impl ConnectEx {
    fn run(self) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        if self.overlapped.is_null() {
            return Err(Wsa::InvalidParameter);
        }
        let peer = sockaddr::read(self.name, self.name_length, endpoint.family)?;
        // The socket has to be bound already.
        endpoint.local_address()?;
        endpoint.check_connect(peer)?;
        let data = self.data;
        let sent = overlapped::run(self.overlapped, move || {
            endpoint.connect(peer, &ConnectRequest::default())?;
            if data.len() == 0 {
                return Ok(0);
            }
            memory::length_u32(endpoint.send_buffer(data.into(), MessageFlags::default())?)
        })?;
        memory::write_u32(self.sent, sent).map(|()| 1)
    }
}

c_functions! {
    /// ConnectEx: connects in the background, then sends data. SIO_GET_EXTENSION_FUNCTION_POINTER returns its address.
    api gqos_ConnectEx(
        s: usize, name: Address, namelen: i32, data: Address, length: u32, sent: Address, overlapped: Address,
    ) -> i32, or 0 => {
        let data = ForeignMemory::new(data, if data.is_null() { 0 } else { length as usize });
        ConnectEx { s, name, name_length: namelen, data, sent, overlapped }.run()
    };
}
