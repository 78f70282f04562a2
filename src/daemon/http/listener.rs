//! The socket of the endpoint: a loopback port, or a file that the daemon's user and group may use.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::daemon::error::DaemonStartError;
use crate::daemon::socket_file::SocketFile;
use crate::failure::KernelCall;
use crate::policy::HttpAddress;

/// A socket that listens, and does not block.
pub(super) enum HttpListener {
    /// With its port, which the kernel may have chosen.
    Port(TcpListener, SocketAddr),
    Socket(UnixListener, SocketFile),
}

/// For the daemon's user and group.
const MODE: u32 = 0o660;

impl HttpListener {
    /// Listens at an address. The file of a socket gets the group of the administrators, where there is one.
    ///
    /// - **Errors**: another process has the address; the kernel's.
    pub(super) fn bind(address: &HttpAddress, administrators: Option<u32>) -> Result<Self, DaemonStartError> {
        match address {
            HttpAddress::Port(address) => {
                let failed = |call| {
                    let object = address.to_string();
                    move |error| KernelCall(call).failed(object, error)
                };
                let listener = TcpListener::bind(address).map_err(failed("bind"))?;
                listener.set_nonblocking(true).map_err(failed("fcntl(O_NONBLOCK)"))?;
                let bound = listener.local_addr().map_err(failed("getsockname"))?;
                Ok(Self::Port(listener, bound))
            }
            HttpAddress::Socket(path) => {
                let path = Path::new(path);
                let (listener, file) = SocketFile::listen(path, MODE, "--http")?;
                if let Some(group) = administrators {
                    std::os::unix::fs::chown(path, None, Some(group))
                        .map_err(|error| KernelCall("chown").failed(path.display().to_string(), error))?;
                }
                Ok(Self::Socket(listener, file))
            }
        }
    }
}
