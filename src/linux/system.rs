//! This run of the machine: when it started, and which it is.

use nix::libc;
use nix::time::{ClockId, clock_gettime};

use super::attach::own_namespace;
use crate::failure::{KernelCall, KernelFailure};

/// How long the machine runs, the time that it was suspended included, in microseconds.
///
/// - **Errors**: `clock_gettime`.
/// - **Source**: clock_gettime(2), CLOCK_BOOTTIME.
pub fn uptime_us() -> Result<u64, KernelFailure> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
    let time = time.map_err(|errno| KernelCall("clock_gettime").failed("CLOCK_BOOTTIME", errno))?;
    let micros = |seconds: libc::time_t, nanos: libc::c_long| {
        Some(u64::try_from(seconds).ok()?.checked_mul(1_000_000)? + u64::try_from(nanos).ok()? / 1000)
    };
    Ok(micros(time.tv_sec(), time.tv_nsec()).unwrap_or(u64::MAX))
}

/// What tells this network namespace of this run of the machine from all others: cookies of sockets and numbers of
/// interfaces mean the same within it.
///
/// - **Errors**: `read`, `getsockopt`.
/// - **Source**: proc(5), `/proc/sys/kernel/random/boot_id`; socket(7), SO_NETNS_COOKIE.
pub fn system_id() -> Result<String, KernelFailure> {
    Ok(format!("{}/{}", boot_id()?, own_namespace()?))
}

/// What tells this run of the machine from others.
///
/// - **Errors**: `read`.
pub(super) fn boot_id() -> Result<String, KernelFailure> {
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";
    let boot = std::fs::read_to_string(BOOT).map_err(|error| KernelCall("read").failed(BOOT, error))?;
    Ok(boot.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_the_namespace_stays() {
        let before = uptime_us().unwrap();
        assert!(before > 0 && uptime_us().unwrap() >= before);
        let id = system_id().unwrap();
        assert_eq!(system_id().unwrap(), id);
        assert!(id.len() > 36 && id.contains('/'), "{id}");
    }
}
