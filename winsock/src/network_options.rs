//! Options of IP and TCP that Linux has under other numbers.

use std::time::Duration;

use flowspec::{Errno, Wsa};

use super::Result;
use super::endpoint::Endpoint;
use super::options::{OptionValue, SocketOption};
use super::provider::check_started;
use crate::sys::{self, NetworkOption};

/// When TCP sends packets on an idle connection. Both times are rounded up to seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeepAlive {
    /// From the last data to the first packet.
    pub idle: Duration,
    /// From one packet to the next.
    pub interval: Duration,
}

impl Endpoint {
    /// Sets an option of IP or TCP.
    ///
    /// - **Errors**: WSAENOPROTOOPT where such sockets do not have it; WSAEINVAL.
    pub fn set_network_option(&self, option: NetworkOption, value: i32) -> Result<()> {
        check_started()?;
        sys::set_network(&self.fd, self.family, option, value).map_err(Errno::wsa)?;
        if option == NetworkOption::MulticastInterface {
            // The kernel does not return an index that IP_MULTICAST_IF has set.
            self.state().multicast_interface = value;
        }
        Ok(())
    }

    /// The value of an option of IP or TCP.
    ///
    /// - **Errors**: those of [`set_network_option`](Self::set_network_option).
    pub fn network_option(&self, option: NetworkOption) -> Result<i32> {
        check_started()?;
        sys::get_network(&self.fd, self.family, option).map_err(Errno::wsa)
    }

    /// Has TCP send packets while the connection is idle, or not.
    ///
    /// - **Errors**: WSAEOPNOTSUPP for datagrams; WSAEINVAL for times that Linux does not take.
    /// - **Source**: SIO_KEEPALIVE_VALS.
    pub fn set_keepalive(&self, keep_alive: Option<KeepAlive>) -> Result<()> {
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        self.set_option(SocketOption::KeepAlive, OptionValue::Number(i32::from(keep_alive.is_some())))?;
        if let Some(KeepAlive { idle, interval }) = keep_alive {
            let seconds =
                |time: Duration| i32::try_from(time.as_millis().div_ceil(1000)).map_err(|_| Wsa::Einval);
            self.set_network_option(NetworkOption::KeepIdle, seconds(idle)?)?;
            self.set_network_option(NetworkOption::KeepInterval, seconds(interval)?)?;
        }
        Ok(())
    }
}
