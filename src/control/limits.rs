//! The limits of the control socket. What exceeds one is answered with an error or ends the connection; it never delays
//! another client.

use std::time::Duration;

/// The largest message of a client in bytes, without its NUL.
pub const MOST_CALL_BYTES: usize = 64 << 10;

/// The largest message that a client accepts: a status with a class for each flow is the largest.
pub const MOST_REPLY_BYTES: usize = 16 << 20;

/// How deeply objects and lists may be nested in a message.
pub const MOST_DEPTH: usize = 16;

/// How many calls of a connection may wait for their answers. While as many wait, no more are read.
pub const MOST_CALLS_IN_FLIGHT: usize = 32;

/// How long a message may take from its first byte to its NUL.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer may leave a reply unread once the socket's buffer is full.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections one user may have.
pub const MOST_CONNECTIONS_OF_A_USER: usize = 64;

/// How many connections there may be.
pub const MOST_CONNECTIONS: usize = 1024;

/// How many reservations one user may hold, unless the policy says otherwise.
pub const MOST_FLOWS_OF_A_USER: usize = 4096;

/// How many calls a second one user may make, unless the policy says otherwise.
pub const MOST_CALLS_A_SECOND: u32 = 20_000;

/// How many flows a reply to `Flows` and how many events a reply to `Events` names at most.
pub const MOST_RECORDS_OF_A_REPLY: usize = 100;

/// The longest id, class, group or other name in a call, in bytes.
pub const MOST_NAME_BYTES: usize = 256;
