//! Linux's error numbers, and the Winsock code for each.
//!
//! Takes a number, gives its name, its text and its code. This is the only table from errno to Winsock: every
//! layer that reports a failed system call uses it.

use serde::{Deserialize, Serialize};

use crate::wsa::Wsa;

/// An error number of the Linux kernel, as in errno(3).
///
/// The numbers are those of `asm-generic/errno.h`, which x86, Arm, RISC-V, PowerPC and s390 share.
///
/// - **JSON**: the number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Errno(i32);

macro_rules! errors {
    ($($name:ident = $number:literal, $text:literal, $wsa:ident;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($number);)*

            /// The name in errno(3); `None` for a number that is not in the table.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }

            /// The C library's text; `None` for a number that is not in the table.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }

            /// The Winsock code.
            ///
            /// A number without a row in Winsock's table is WSAENETDOWN: the network subsystem has failed.
            /// EPIPE is WSAECONNRESET, since Winsock has no code for writing to a peer that reads no more.
            /// EINPROGRESS is WSAEWOULDBLOCK, as Winsock's `connect` answers on a non-blocking socket.
            ///
            /// - **Source**: WSPConnect, table of error codes; Windows Sockets error codes.
            pub const fn wsa(self) -> Wsa {
                match self.0 { $($number => Wsa::$wsa,)* _ => Wsa::Enetdown }
            }
        }

        #[cfg(test)]
        const ALL: &[Errno] = &[$(Errno::$name),*];
    };
}

errors! {
    EPERM = 1, "Operation not permitted", Eacces;
    ENOENT = 2, "No such file or directory", Enetdown;
    EINTR = 4, "Interrupted system call", Eintr;
    EIO = 5, "Input/output error", Enetdown;
    ENXIO = 6, "No such device or address", Enetdown;
    E2BIG = 7, "Argument list too long", Enetdown;
    EBADF = 9, "Bad file descriptor", Enotsock;
    EAGAIN = 11, "Resource temporarily unavailable", Ewouldblock;
    ENOMEM = 12, "Cannot allocate memory", Enobufs;
    EACCES = 13, "Permission denied", Eacces;
    EFAULT = 14, "Bad address", Efault;
    EBUSY = 16, "Device or resource busy", Enetdown;
    EEXIST = 17, "File exists", Enetdown;
    EXDEV = 18, "Invalid cross-device link", Enetdown;
    ENODEV = 19, "No such device", Enetdown;
    ENOTDIR = 20, "Not a directory", Enetdown;
    EISDIR = 21, "Is a directory", Enetdown;
    EINVAL = 22, "Invalid argument", Einval;
    ENFILE = 23, "Too many open files in system", Emfile;
    EMFILE = 24, "Too many open files", Emfile;
    ENOTTY = 25, "Inappropriate ioctl for device", Enetdown;
    EFBIG = 27, "File too large", Enetdown;
    ENOSPC = 28, "No space left on device", Enetdown;
    EROFS = 30, "Read-only file system", Enetdown;
    EPIPE = 32, "Broken pipe", Econnreset;
    ERANGE = 34, "Numerical result out of range", Enetdown;
    EDEADLK = 35, "Resource deadlock avoided", Enetdown;
    ENAMETOOLONG = 36, "File name too long", Enetdown;
    ENOSYS = 38, "Function not implemented", Enetdown;
    ELOOP = 40, "Too many levels of symbolic links", Enetdown;
    EPROTO = 71, "Protocol error", Enetdown;
    EOVERFLOW = 75, "Value too large for defined data type", Enetdown;
    ENOTSOCK = 88, "Socket operation on non-socket", Enotsock;
    EDESTADDRREQ = 89, "Destination address required", Edestaddrreq;
    EMSGSIZE = 90, "Message too long", Emsgsize;
    EPROTOTYPE = 91, "Protocol wrong type for socket", Eprototype;
    ENOPROTOOPT = 92, "Protocol not available", Enoprotoopt;
    EPROTONOSUPPORT = 93, "Protocol not supported", Eprotonosupport;
    ESOCKTNOSUPPORT = 94, "Socket type not supported", Esocktnosupport;
    EOPNOTSUPP = 95, "Operation not supported", Eopnotsupp;
    EPFNOSUPPORT = 96, "Protocol family not supported", Eafnosupport;
    EAFNOSUPPORT = 97, "Address family not supported by protocol", Eafnosupport;
    EADDRINUSE = 98, "Address already in use", Eaddrinuse;
    EADDRNOTAVAIL = 99, "Cannot assign requested address", Eaddrnotavail;
    ENETDOWN = 100, "Network is down", Enetdown;
    ENETUNREACH = 101, "Network is unreachable", Enetunreach;
    ENETRESET = 102, "Network dropped connection on reset", Enetreset;
    ECONNABORTED = 103, "Software caused connection abort", Econnaborted;
    ECONNRESET = 104, "Connection reset by peer", Econnreset;
    ENOBUFS = 105, "No buffer space available", Enobufs;
    EISCONN = 106, "Transport endpoint is already connected", Eisconn;
    ENOTCONN = 107, "Transport endpoint is not connected", Enotconn;
    ESHUTDOWN = 108, "Cannot send after transport endpoint shutdown", Eshutdown;
    ETOOMANYREFS = 109, "Too many references: cannot splice", Enetdown;
    ETIMEDOUT = 110, "Connection timed out", Etimedout;
    ECONNREFUSED = 111, "Connection refused", Econnrefused;
    EHOSTDOWN = 112, "Host is down", Ehostunreach;
    EHOSTUNREACH = 113, "No route to host", Ehostunreach;
    EALREADY = 114, "Operation already in progress", Ealready;
    EINPROGRESS = 115, "Operation now in progress", Ewouldblock;
    ESTALE = 116, "Stale file handle", Enetdown;
    EDQUOT = 122, "Disk quota exceeded", Enetdown;
    ECANCELED = 125, "Operation canceled", Enetdown;
}

impl Errno {
    /// Any number is allowed. One that is not in the table has no text, and its code is WSAENETDOWN.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Positive, as errno(3) has it.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.text(), self.name()) {
            (Some(text), Some(name)) => write!(f, "{text} ({name})"),
            _ => write!(f, "error {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(errno: Errno, text: &str, wsa: Wsa) {
        assert_eq!((errno.to_string().as_str(), errno.wsa()), (text, wsa));
    }

    #[test]
    fn each_error_has_a_name_a_text_and_a_code() {
        check(Errno::EPERM, "Operation not permitted (EPERM)", Wsa::Eacces);
        check(Errno::EMFILE, "Too many open files (EMFILE)", Wsa::Emfile);
        check(Errno::ENOBUFS, "No buffer space available (ENOBUFS)", Wsa::Enobufs);
        check(Errno::EPIPE, "Broken pipe (EPIPE)", Wsa::Econnreset);
        check(Errno::ENODEV, "No such device (ENODEV)", Wsa::Enetdown);
        check(Errno::new(4711), "error 4711", Wsa::Enetdown);
    }

    #[test]
    fn numbers_ascend() {
        assert!(ALL.is_sorted_by(|a, b| a < b));
    }
}
