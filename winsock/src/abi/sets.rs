//! Select and poll on Winsock's sets.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;

use super::calls::socket;
use super::{SOCKET_ERROR, api, memory, spi};
use crate::Result;
use crate::provider::running;
use crate::select::{Interest, poll, select};
use crate::socket::Endpoint;

/// The most members that a set may have, whatever FD_SETSIZE the program was compiled with.
const MOST_MEMBERS: usize = 1 << 16;

/// Winsock's poll events.
const POLLRDNORM: u16 = 0x100;
const POLLRDBAND: u16 = 0x200;
const POLLWRNORM: u16 = 0x10;
const POLLERR: u16 = 1;
const POLLHUP: u16 = 2;
const POLLNVAL: u16 = 4;

/// The members of an fd_set: a count, and as many SOCKETs from byte 8 on.
fn members(set: usize) -> Result<Vec<usize>> {
    if set == 0 {
        return Ok(Vec::new());
    }
    let count = memory::u32_at(set)? as usize;
    if count > MOST_MEMBERS {
        return Err(Wsa::Einval);
    }
    (0..count).map(|index| memory::bytes(set + 8 + index * 8).map(usize::from_ne_bytes)).collect()
}

fn write_members(set: usize, members: &[usize]) -> Result<()> {
    if set == 0 {
        return Ok(());
    }
    memory::write_u32(set, u32::try_from(members.len()).unwrap_or(0))?;
    let bytes: Vec<u8> = members.iter().flat_map(|member| member.to_ne_bytes()).collect();
    memory::write(set + 8, &bytes)
}

/// A timeval of the C library's: seconds and microseconds.
fn timeout(place: usize) -> Result<Option<Duration>> {
    if place == 0 {
        return Ok(None);
    }
    let number = |offset: usize| memory::bytes(place.wrapping_add(offset)).map(i64::from_ne_bytes);
    let (seconds, micros) = (number(0)?, number(8)?);
    match (u64::try_from(seconds), u64::try_from(micros)) {
        (Ok(seconds), Ok(micros)) => {
            Ok(Some(Duration::from_secs(seconds.min(1 << 32)) + Duration::from_micros(micros.min(1 << 52))))
        }
        _ => Err(Wsa::Einval),
    }
}

fn select_sets(read: usize, write: usize, except: usize, time: usize) -> Result<i32> {
    running()?;
    let sets = [members(read)?, members(write)?, members(except)?];
    let time = timeout(time)?;
    let mut asked: Vec<(usize, (Arc<Endpoint>, Interest))> = Vec::new();
    for (kind, set) in sets.iter().enumerate() {
        for &member in set {
            let place = match asked.iter().position(|(known, _)| *known == member) {
                Some(place) => place,
                None => {
                    asked.push((member, (socket(member)?, Interest::default())));
                    asked.len() - 1
                }
            };
            let interest = &mut asked[place].1.1;
            match kind {
                0 => interest.read = true,
                1 => interest.write = true,
                _ => interest.except = true,
            }
        }
    }
    let mut sockets: Vec<_> = asked.iter().map(|(_, entry)| entry.clone()).collect();
    select(&mut sockets, time)?;
    let mut count = 0;
    let found = |wanted: fn(&Interest) -> bool| -> Vec<usize> {
        asked
            .iter()
            .zip(&sockets)
            .filter(|(_, (_, found))| wanted(found))
            .map(|((member, _), _)| *member)
            .collect()
    };
    for (place, set) in [
        (read, found(|found| found.read)),
        (write, found(|found| found.write)),
        (except, found(|found| found.except)),
    ] {
        count += if place == 0 { 0 } else { set.len() };
        write_members(place, &set)?;
    }
    i32::try_from(count).map_err(|_| Wsa::Einval)
}

/// WSAPOLLFD: a SOCKET, what is asked, what was found; 16 bytes.
fn poll_list(list: usize, count: u32, millis: i32) -> Result<i32> {
    running()?;
    if count == 0 {
        return Err(Wsa::Einval);
    }
    if count as usize > MOST_MEMBERS {
        return Err(Wsa::Einval);
    }
    let (mut sockets, mut places, mut bad) = (Vec::new(), Vec::new(), 0);
    for index in 0..count as usize {
        let place = list.wrapping_add(index * 16);
        let bytes: [u8; 16] = memory::bytes(place)?;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[..8]);
        let number = usize::from_ne_bytes(number);
        let events = u16::from_ne_bytes([bytes[8], bytes[9]]);
        memory::write(place.wrapping_add(10), &[0, 0])?;
        // A negative number is passed over.
        if number.cast_signed() < 0 {
            continue;
        }
        let interest = Interest {
            read: events & POLLRDNORM != 0,
            write: events & POLLWRNORM != 0,
            except: events & POLLRDBAND != 0,
            ..Interest::default()
        };
        match socket(number) {
            Ok(endpoint) => {
                places.push(place);
                sockets.push((endpoint, interest));
            }
            Err(_) => {
                memory::write(place.wrapping_add(10), &POLLNVAL.to_ne_bytes())?;
                bad += 1;
            }
        }
    }
    let time = match u64::try_from(millis) {
        _ if bad > 0 => Some(Duration::ZERO),
        Ok(millis) => Some(Duration::from_millis(millis)),
        Err(_) => None,
    };
    let ready = if sockets.is_empty() && time.is_none() { 0 } else { poll(&mut sockets, time)? };
    for ((_, found), place) in sockets.iter().zip(places) {
        let mut bits = 0;
        for (set, bit) in [
            (found.read, POLLRDNORM),
            (found.write, POLLWRNORM),
            (found.except, POLLRDBAND),
            (found.hung_up, POLLHUP),
            (found.error, POLLERR),
        ] {
            bits |= if set { bit } else { 0 };
        }
        memory::write(place.wrapping_add(10), &bits.to_ne_bytes())?;
    }
    i32::try_from(ready + bad).map_err(|_| Wsa::Einval)
}

/// select; the first parameter is for those who come from elsewhere.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_select(_count: i32, read: usize, write: usize, except: usize, time: usize) -> i32 {
    api(SOCKET_ERROR, || select_sets(read, write, except, time))
}

/// WSPSelect.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPSelect(
    _count: i32,
    read: usize,
    write: usize,
    except: usize,
    time: usize,
    lp_errno: usize,
) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || select_sets(read, write, except, time))
}

/// WSAPoll.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAPoll(list: usize, count: u32, millis: i32) -> i32 {
    api(SOCKET_ERROR, || poll_list(list, count, millis))
}

/// FD_ISSET.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAFDIsSet(s: usize, set: usize) -> i32 {
    i32::from(members(set).is_ok_and(|members| members.contains(&s)))
}
