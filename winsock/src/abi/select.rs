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

/// The three sets of select.
#[derive(Clone, Copy)]
struct Sets {
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

fn select_sets(sets: Sets, timeval: Address) -> Result<i32> {
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

/// The sockets of WSAPoll, with the address of each one's WSAPOLLFD.
#[derive(Default)]
struct Polled {
    sockets: Vec<(Arc<Endpoint>, PollEvents)>,
    entries: Vec<Address>,
    /// Entries that are no sockets. They get POLLNVAL and count as ready.
    invalid: usize,
}

/// Reads the list of WSAPoll and clears what was found. Negative handles are ignored.
fn read_poll_list(list: Address, count: usize) -> Result<Polled> {
    let mut polled = Polled::default();
    for index in 0..count {
        let entry = list.offset(index * POLLFD_SIZE);
        let handle = memory::read_usize(entry)?;
        let events = u16::from_ne_bytes(memory::read_bytes(entry.offset(POLLFD_EVENTS))?);
        memory::write(entry.offset(POLLFD_FOUND), &[0, 0])?;
        if handle.cast_signed() < 0 {
            continue;
        }
        let wanted = PollEvents {
            read: events & POLLRDNORM != 0,
            write: events & POLLWRNORM != 0,
            except: events & POLLRDBAND != 0,
            ..PollEvents::default()
        };
        match endpoint(handle) {
            Ok(endpoint) => {
                polled.entries.push(entry);
                polled.sockets.push((endpoint, wanted));
            }
            Err(_) => {
                memory::write(entry.offset(POLLFD_FOUND), &POLLNVAL.to_ne_bytes())?;
                polled.invalid += 1;
            }
        }
    }
    Ok(polled)
}

fn poll_list(list: Address, count: u32, millis: i32) -> Result<i32> {
    check_started()?;
    let count = count as usize;
    if count == 0 || count > MAX_MEMBERS {
        return Err(Wsa::Einval);
    }
    let Polled { mut sockets, entries, invalid } = read_poll_list(list, count)?;
    let timeout = match u64::try_from(millis) {
        _ if invalid > 0 => Some(Duration::ZERO),
        Ok(millis) => Some(Duration::from_millis(millis)),
        // A negative timeout is no limit.
        Err(_) => None,
    };
    let ready = if sockets.is_empty() && timeout.is_none() { 0 } else { poll(&mut sockets, timeout)? };
    for ((_, found), entry) in sockets.iter().zip(entries) {
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
        memory::write(entry.offset(POLLFD_FOUND), &bits.to_ne_bytes())?;
    }
    i32::try_from(ready + invalid).map_err(|_| Wsa::Einval)
}

c_functions! {
    /// select, WSPSelect. The first parameter is ignored, as on Windows.
    both gqos_select, gqos_WSPSelect(_count: i32, read: Address, write: Address, except: Address, timeout: Address)
        -> i32, or SOCKET_ERROR => select_sets(Sets { read, write, except }, timeout);
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
