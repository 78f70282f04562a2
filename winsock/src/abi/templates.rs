//! Named flow specifications.

use flowspec::Wsa;

use super::calls::{socket, write_qos};
use super::{api, memory, spi};
use crate::Result;
use crate::qos::{template, templates};

/// With an empty name: every name there is, each ended by a zero, and one more behind the last.
fn by_name(s: usize, name: usize, place: usize) -> Result<i32> {
    socket(s)?;
    let (text, room) = memory::wsabuf(name)?;
    if room == 0 || text == 0 {
        return Err(Wsa::Efault);
    }
    let asked = memory::text(text)?;
    if asked.is_empty() {
        let mut list: Vec<u8> = Vec::new();
        for template in templates()? {
            list.extend(template.name.as_bytes());
            list.push(0);
        }
        list.push(0);
        let needed = u32::try_from(list.len()).map_err(|_| Wsa::Enobufs)?;
        if needed > room {
            // Who asked is told how much it takes.
            memory::write_u32(name, needed)?;
            return Err(Wsa::Enobufs);
        }
        memory::write(text, &list)?;
        memory::write_u32(name, needed)?;
        return Ok(1);
    }
    let qos = template(&asked)?;
    write_qos(&qos, place)?;
    Ok(1)
}

/// WSAGetQOSByName: TRUE where the name is known.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAGetQOSByName(s: usize, name: usize, place: usize) -> i32 {
    api(0, || by_name(s, name, place))
}

/// WSPGetQOSByName.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPGetQOSByName(s: usize, name: usize, place: usize, lp_errno: usize) -> i32 {
    spi(0, lp_errno, || by_name(s, name, place))
}
