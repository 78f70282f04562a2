//! select, WSAPoll and fd_set.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;

use super::handle::endpoint;
use super::{Address, SOCKET_ERROR, memory};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::provider::check_started;
use crate::select::{PollEvents, poll, select};

/// The most members of a set, whatever FD_SETSIZE the program was compiled with.
const MAX_MEMBERS: usize = 1 << 16;

/// The offset of an fd_set's members, which are preceded by their count, and the size of one.
const FIRST_MEMBER: usize = 8;
const MEMBER_SIZE: usize = 8;

/// A WSAPOLLFD: a SOCKET, the events to wait for, and those found.
const POLLFD_SIZE: usize = 16;
const POLLFD_EVENTS: usize = 8;
const POLLFD_FOUND: usize = 10;

const POLLRDNORM: u16 = 0x100;
const POLLRDBAND: u16 = 0x200;
const POLLWRNORM: u16 = 0x10;
const POLLERR: u16 = 1;
const POLLHUP: u16 = 2;
const POLLNVAL: u16 = 4;

#[derive(Clone, Copy)]
struct SelectSets {
    read: Address,
    write: Address,
    except: Address,
}

/// Reads the members of an fd_set; none for NULL.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL for too many.
fn read_members(set: Address) -> Result<Vec<usize>> {
    if set.is_null() {
        return Ok(Vec::new());
    }
    let count = memory::read_u32(set)? as usize;
    if count > MAX_MEMBERS {
        return Err(Wsa::Einval);
    }
    (0..count).map(|index| memory::read_usize(set.offset(FIRST_MEMBER + index * MEMBER_SIZE))).collect()
}

fn write_members(set: Address, members: &[usize]) -> Result<()> {
    if set.is_null() {
        return Ok(());
    }
    memory::write_u32(set, memory::length_u32(members.len())?)?;
    let bytes: Vec<u8> = members.iter().flat_map(|member| member.to_ne_bytes()).collect();
    memory::write(set.offset(FIRST_MEMBER), &bytes)
}

/// Reads a timeval of the C library: seconds and microseconds, 8 bytes each. NULL is no limit.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL for a negative number.
fn read_timeval(timeval: Address) -> Result<Option<Duration>> {
    if timeval.is_null() {
        return Ok(None);
    }
    let field = |offset| {
        let value = memory::read_bytes(timeval.offset(offset)).map(i64::from_ne_bytes)?;
        u64::try_from(value).map_err(|_| Wsa::Einval)
    };
    let (seconds, micros) = (field(0), field(8));
    // Limits that no program notices keep the sum in range.
    Ok(Some(Duration::from_secs(seconds?.min(1 << 32)) + Duration::from_micros(micros?.min(1 << 52))))
}

fn select_sets(sets: SelectSets, timeval: Address) -> Result<i32> {
    check_started()?;
    let members = [read_members(sets.read)?, read_members(sets.write)?, read_members(sets.except)?];
    let timeout = read_timeval(timeval)?;
    // Each socket once, with the conditions of all sets that it is in.
    let mut handles: Vec<usize> = Vec::new();
    let mut sockets: Vec<(Arc<Endpoint>, PollEvents)> = Vec::new();
    for (set, members) in members.iter().enumerate() {
        for &member in members {
            let index = match handles.iter().position(|known| *known == member) {
                Some(index) => index,
                None => {
                    sockets.push((endpoint(member)?, PollEvents::default()));
                    handles.push(member);
                    handles.len() - 1
                }
            };
            let wanted = &mut sockets[index].1;
            match set {
                0 => wanted.read = true,
                1 => wanted.write = true,
                _ => wanted.except = true,
            }
        }
    }
    select(&mut sockets, timeout)?;
    let ready = |is_met: fn(&PollEvents) -> bool| -> Vec<usize> {
        let ready = handles.iter().zip(&sockets).filter(|(_, (_, found))| is_met(found));
        ready.map(|(handle, _)| *handle).collect()
    };
    let mut count = 0;
    for (set, ready) in [
        (sets.read, ready(|found| found.read)),
        (sets.write, ready(|found| found.write)),
        (sets.except, ready(|found| found.except)),
    ] {
        count += if set.is_null() { 0 } else { ready.len() };
        write_members(set, &ready)?;
    }
    i32::try_from(count).map_err(|_| Wsa::Einval)
}

/// A WSAPOLLFD of the program's.
#[derive(Clone, Copy)]
struct PollEntry {
    address: Address,
    handle: usize,
    events: u16,
}

impl PollEntry {
    fn read(address: Address) -> Result<Self> {
        let handle = memory::read_usize(address)?;
        let events = u16::from_ne_bytes(memory::read_bytes(address.offset(POLLFD_EVENTS))?);
        Ok(Self { address, handle, events })
    }

    fn write_found(self, bits: u16) -> Result<()> {
        memory::write(self.address.offset(POLLFD_FOUND), &bits.to_ne_bytes())
    }

    /// Whether bits are set that can only be found. Those of a negative handle are ignored.
    const fn is_invalid(self) -> bool {
        self.handle.cast_signed() >= 0 && self.events & !(POLLRDNORM | POLLRDBAND | POLLWRNORM) != 0
    }

    const fn wanted(self) -> PollEvents {
        PollEvents {
            read: self.events & POLLRDNORM != 0,
            write: self.events & POLLWRNORM != 0,
            except: self.events & POLLRDBAND != 0,
            hung_up: false,
            error: false,
            closed: false,
        }
    }
}

/// Waits for a list of WSAPOLLFDs. Entries that are no sockets get POLLNVAL and are not counted, as on Windows.
fn poll_list(list: Address, count: u32, millis: i32) -> Result<i32> {
    check_started()?;
    let count = count as usize;
    if count == 0 || count > MAX_MEMBERS {
        return Err(Wsa::Einval);
    }
    let read = |index| PollEntry::read(list.offset(index * POLLFD_SIZE));
    let entries = (0..count).map(read).collect::<Result<Vec<_>>>()?;
    let (mut polled, mut sockets) = (Vec::new(), Vec::new());
    for entry in &entries {
        match endpoint(entry.handle) {
            Ok(endpoint) => {
                entry.write_found(0)?;
                polled.push(*entry);
                sockets.push((endpoint, entry.wanted()));
            }
            Err(_) => entry.write_found(POLLNVAL)?,
        }
    }
    if sockets.is_empty() {
        return Err(Wsa::Enotsock);
    }
    if entries.iter().any(|entry| entry.is_invalid()) {
        entries.iter().try_for_each(|entry| entry.write_found(0))?;
        return Err(Wsa::Einval);
    }
    // A negative timeout is no limit.
    let timeout = u64::try_from(millis).ok().map(Duration::from_millis);
    let ready = poll(&mut sockets, timeout)?;
    for ((_, found), entry) in sockets.iter().zip(polled) {
        entry.write_found(found_bits(*found))?;
    }
    i32::try_from(ready).map_err(|_| Wsa::Einval)
}

fn found_bits(found: PollEvents) -> u16 {
    if found.closed {
        return POLLNVAL;
    }
    let mut bits = 0;
    for (is_met, bit) in [
        (found.read, POLLRDNORM),
        (found.write, POLLWRNORM),
        (found.except, POLLRDBAND),
        (found.hung_up, POLLHUP),
        (found.error, POLLERR),
    ] {
        bits |= if is_met { bit } else { 0 };
    }
    bits
}

c_functions! {
    /// select, WSPSelect. The first parameter is ignored, as on Windows.
    both gqos_select, gqos_WSPSelect(_count: i32, read: Address, write: Address, except: Address, timeout: Address)
        -> i32, or SOCKET_ERROR => select_sets(SelectSets { read, write, except }, timeout);
    /// WSAPoll.
    api gqos_WSAPoll(list: Address, count: u32, millis: i32) -> i32, or SOCKET_ERROR
        => poll_list(list, count, millis);
}

/// FD_ISSET.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_WSAFDIsSet(s: usize, set: Address) -> i32 {
    i32::from(read_members(set).is_ok_and(|members| members.contains(&s)))
}
