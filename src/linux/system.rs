//! This run of the machine, and this network namespace: what tells them from others.

use super::attach::own_namespace;
use crate::failure::{KernelCall, KernelFailure};

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
    fn the_namespace_stays() {
        let id = system_id().unwrap();
        assert_eq!(system_id().unwrap(), id);
        assert!(id.len() > 36 && id.contains('/'), "{id}");
    }
}
