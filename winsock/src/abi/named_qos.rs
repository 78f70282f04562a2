//! WSAGetQOSByName.

use flowspec::Wsa;

use super::handle::endpoint;
use super::memory::{self, Encoding};
use super::{Address, qos};
use crate::Result;
use crate::named_qos::{named_qos, named_qos_list};

/// Writes the QOS of a name. With an empty name it writes all names to the name's buffer: each ends with a zero, and the
/// list with one more.
fn by_name(s: usize, name: Address, qos: Address) -> Result<i32> {
    endpoint(s)?;
    let buffer = memory::read_wsabuf(name)?;
    if buffer.len() == 0 || buffer.address().is_null() {
        return Err(Wsa::Efault);
    }
    let requested = memory::read_counted_text(buffer)?;
    if !requested.is_empty() {
        return qos::write(&named_qos(&requested)?, qos).map(|()| 1);
    }
    let mut list: Vec<u8> = Vec::new();
    for named in named_qos_list()? {
        list.extend(memory::encoded(&named.name, Encoding::Narrow));
    }
    list.push(0);
    memory::write_u32(name, memory::length_u32(list.len())?)?;
    if list.len() > buffer.len() {
        return Err(Wsa::Enobufs);
    }
    memory::write(buffer.address(), &list).map(|()| 1)
}

c_functions! {
    /// WSAGetQOSByName, WSPGetQOSByName: TRUE for a known name.
    both gqos_WSAGetQOSByName, gqos_WSPGetQOSByName(s: usize, name: Address, qos: Address) -> i32, or 0
        => by_name(s, name, qos);
}
