//! One connection to the control socket, for a command that waits for each reply.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use gqos::control::limits::MOST_REPLY_BYTES;
use gqos::control::{Call, ControlError, DEFAULT_SOCKET, FrameReader, MethodCall, Reply, encode};
use gqos::engine::DaemonSocket;
use gqos::failure::KernelCall;
use serde::de::DeserializeOwned;

use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::plain::plain_lines;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct SocketArgument {
    /// The daemon's control socket; by default the environment variable GQOS_SOCKET, or else /run/gqos/gqos.sock.
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) socket: Option<PathBuf>,
}

/// A connection to the daemon.
pub(super) struct ControlClient {
    stream: UnixStream,
    frames: FrameReader,
    socket: String,
    /// How long a reply may take; `None` for ever.
    patience: Option<Duration>,
}

/// How long a reply may take where the call does not wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

impl SocketArgument {
    /// The path of the socket, where it was given or is there.
    pub(in crate::cli) fn found(&self) -> Option<PathBuf> {
        match (&self.socket, DaemonSocket::find()) {
            (Some(path), _) => Some(path.clone()),
            (None, DaemonSocket::Named(path) | DaemonSocket::Found(path)) => Some(path),
            (None, _) => None,
        }
    }

    /// The path of the socket, whether or not it is there.
    fn path(&self) -> PathBuf {
        self.found().unwrap_or_else(|| DEFAULT_SOCKET.into())
    }

    /// Connects to the daemon.
    ///
    /// - **Errors**: it cannot be reached.
    pub(super) fn connect(&self) -> Result<ControlClient, CommandFailure> {
        let path = self.path();
        let socket = path.display().to_string();
        let stream = UnixStream::connect(&path).map_err(|cause| {
            let failure = KernelCall("connect").failed(socket.clone(), cause);
            CommandFailure::new(Exit::Unreachable, anyhow!("the daemon cannot be reached: {failure}"))
        })?;
        let patience = Some(PATIENCE);
        let client = ControlClient { stream, frames: FrameReader::new(MOST_REPLY_BYTES), socket, patience };
        client.limit_waits(patience)
    }
}

impl ControlClient {
    /// Gives a reply up that takes longer than this; `None` waits for ever.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn limit_waits(self, most: Option<Duration>) -> Result<Self, CommandFailure> {
        let result = self.stream.set_read_timeout(most).and_then(|()| self.stream.set_write_timeout(most));
        result.map_err(|cause| self.failed(&cause))?;
        Ok(Self { patience: most, ..self })
    }

    /// Sends a call.
    ///
    /// - **Errors**: the daemon has ended.
    pub(super) fn send(&mut self, call: &Call) -> Result<(), CommandFailure> {
        let message = encode(call).map_err(|error| CommandFailure::new(Exit::Usage, error))?;
        self.stream.write_all(&message).map_err(|cause| self.failed(&cause))
    }

    /// The next reply.
    ///
    /// - **Errors**: the daemon has ended; the reply does not follow the protocol.
    pub(super) fn reply(&mut self) -> Result<Reply, CommandFailure> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let next = self.frames.next_message().map_err(|error| self.ended(&error.to_string()))?;
            if let Some(message) = next {
                return Reply::read(&message).map_err(|error| self.ended(&error.to_string()));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.ended("the connection ended before a reply")),
                Ok(read) => self.frames.push(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.failed(&cause)),
            }
        }
    }

    /// Calls a method with one reply.
    ///
    /// - **Errors**: that of the daemon; it has ended.
    pub(super) fn call<T: DeserializeOwned>(&mut self, request: &MethodCall) -> Result<T, CommandFailure> {
        self.send(&Call::new(request))?;
        self.reply()?.parameters().map_err(failure)
    }

    fn failed(&self, cause: &std::io::Error) -> CommandFailure {
        match (cause.kind(), self.patience) {
            (ErrorKind::WouldBlock | ErrorKind::TimedOut, Some(patience)) => {
                self.ended(&format!("no answer within {} s", patience.as_secs()))
            }
            _ => self.ended(&cause.to_string()),
        }
    }

    fn ended(&self, why: &str) -> CommandFailure {
        CommandFailure::new(Exit::Unreachable, anyhow!("the daemon at {}: {why}", self.socket))
    }
}

/// The failure of a command to which the daemon has answered with an error.
pub(super) fn failure(error: ControlError) -> CommandFailure {
    if let ControlError::InvalidPolicy { problems } = &error {
        problems.iter().for_each(|problem| eprintln!("{}", plain_lines(&problem.to_string())));
        return CommandFailure::new(
            Exit::InvalidFile,
            anyhow!("the policy is invalid, and nothing was changed"),
        );
    }
    let exit = match &error {
        ControlError::NotPermitted { .. } => Exit::NoPrivilege,
        ControlError::UnsupportedPolicy { .. } => Exit::InvalidFile,
        ControlError::InterfaceNotFound { .. }
        | ControlError::MethodNotFound { .. }
        | ControlError::MethodNotImplemented { .. }
        | ControlError::InvalidParameter { .. }
        | ControlError::ExpectedMore {}
        | ControlError::LongName { .. }
        | ControlError::Descriptor { .. } => Exit::Usage,
        ControlError::Stopped {} => Exit::Unreachable,
        ControlError::Kernel { failure } if failure.is_permission() => Exit::NoPrivilege,
        ControlError::Kernel { .. } | ControlError::Faulted { .. } | ControlError::Unreadable { .. } => {
            Exit::OsError
        }
        // The daemon does not do it now: an answer, as a refusal is.
        _ => Exit::Difference,
    };
    CommandFailure::new(exit, anyhow!("the daemon: {error}"))
}
