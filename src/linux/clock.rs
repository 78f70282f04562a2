//! The clocks of the system: the only file of the module that reads one.

use std::time::Duration;

use flowspec::Micros;
use nix::time::{ClockId, clock_gettime};

use crate::failure::{KernelCall, KernelFailure};

/// How long the machine runs, the time that it was suspended included.
///
/// - **Errors**: `clock_gettime`.
/// - **Source**: clock_gettime(2), CLOCK_BOOTTIME.
pub fn uptime() -> Result<Micros, KernelFailure> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
    let time = time.map_err(|errno| KernelCall("clock_gettime").failed("CLOCK_BOOTTIME", errno))?;
    Ok(micros(time.into()))
}

/// What CLOCK_MONOTONIC shows; zero where it cannot be read.
pub(super) fn monotonic() -> Micros {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Micros::default(), |time| micros(time.into()))
}

/// A fraction of a microsecond is dropped.
fn micros(time: Duration) -> Micros {
    Micros::new(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_on() {
        let (up, monotonic_before) = (uptime().unwrap(), monotonic());
        assert!(up > Micros::default() && uptime().unwrap() >= up);
        assert!(monotonic_before > Micros::default() && monotonic() >= monotonic_before);
    }
}
