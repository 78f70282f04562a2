//! Options of IP and TCP that Linux has under other numbers.

use std::time::Duration;

use flowspec::{Errno, Wsa};

use super::Result;
use super::endpoint::Endpoint;
use super::options::{OptionValue, SocketOption};
use super::protocol::Family;
use super::provider::check_started;
use crate::sys::{self, NetworkOption};

impl Endpoint {
    /// Sets an option of IP or TCP.
    ///
    /// - **Errors**: WSAENOPROTOOPT where such sockets do not have it; WSAEINVAL.
    pub fn set_network_option(&self, option: NetworkOption, value: i32) -> Result<()> {
        check_started()?;
        sys::set_network(&self.fd, self.family == Family::Inet6, option, value).map_err(Errno::wsa)
    }

    /// The value of an option of IP or TCP.
    ///
    /// - **Errors**: those of [`set_network_option`](Self::set_network_option).
    pub fn network_option(&self, option: NetworkOption) -> Result<i32> {
        check_started()?;
        sys::get_network(&self.fd, self.family == Family::Inet6, option).map_err(Errno::wsa)
    }

    /// Has TCP send packets while the connection is idle: the first after `idle`, and again after `interval`. Both are
    /// rounded up to seconds.
    ///
    /// - **Errors**: WSAEOPNOTSUPP for datagrams; WSAEINVAL for times that Linux does not take.
    /// - **Source**: SIO_KEEPALIVE_VALS.
    pub fn set_keepalive(&self, on: bool, [idle, interval]: [Duration; 2]) -> Result<()> {
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        self.set_option(SocketOption::KeepAlive, OptionValue::Number(i32::from(on)))?;
        if on {
            let seconds =
                |time: Duration| i32::try_from(time.as_millis().div_ceil(1000)).map_err(|_| Wsa::Einval);
            self.set_network_option(NetworkOption::KeepIdle, seconds(idle)?)?;
            self.set_network_option(NetworkOption::KeepInterval, seconds(interval)?)?;
        }
        Ok(())
    }
}
