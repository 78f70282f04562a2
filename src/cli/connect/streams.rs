//! The bytes of a TCP connection.

use std::io::{self, IsTerminal};

use gqos::connect::{ConnectError, Connection};
use gqos::failure::KernelCall;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split, stdin, stdout};

/// The bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// Sends standard input and prints what arrives, until both directions have ended.
///
/// Standard input that is a terminal has no end of its own: it ends with what the peer sends.
///
/// - **Errors**: the connection failed; the standard streams did. A reader that closed standard output ends the exchange.
pub(super) async fn exchange(connection: Connection) -> Result<(), ConnectError> {
    let peer = connection.peer();
    let (read, write) = split(connection);
    let failed = |call: &str, cause| ConnectError::socket(call, peer, cause);
    let sending = async { send(write).await.map_err(|failure| failure.into_error(failed)) };
    let receiving = async { receive(read).await.map_err(|failure| failure.into_error(failed)) };
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => {
            sent?;
            receiving.await.map(drop)
        }
        received = &mut receiving => match received? {
            StreamEnd::OutputClosed => Ok(()),
            StreamEnd::Complete if io::stdin().is_terminal() => Ok(()),
            StreamEnd::Complete => sending.await,
        },
    }
}

enum StreamEnd {
    /// The peer has closed its sending direction.
    Complete,
    /// The reader of standard output has closed it.
    OutputClosed,
}

enum StreamFailure {
    Connection(&'static str, io::Error),
    Standard(&'static str, &'static str, io::Error),
}

impl StreamFailure {
    fn into_error(self, connection: impl Fn(&str, io::Error) -> ConnectError) -> ConnectError {
        match self {
            Self::Connection(call, cause) => connection(call, cause),
            Self::Standard(call, stream, cause) => KernelCall(call).failed(stream, cause).into(),
        }
    }
}

/// Sends standard input, and closes the sending direction at its end.
async fn send(mut connection: WriteHalf<Connection>) -> Result<(), StreamFailure> {
    let (mut input, mut buffer) = (stdin(), vec![0; BUFFER]);
    loop {
        let read = input.read(&mut buffer).await;
        let read = read.map_err(|cause| StreamFailure::Standard("read", "standard input", cause))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            let closed = connection.shutdown().await;
            return closed.map_err(|cause| StreamFailure::Connection("shutdown", cause));
        };
        connection.write_all(bytes).await.map_err(|cause| StreamFailure::Connection("send", cause))?;
    }
}

/// Prints what arrives.
async fn receive(mut connection: ReadHalf<Connection>) -> Result<StreamEnd, StreamFailure> {
    let (mut output, mut buffer) = (stdout(), vec![0; BUFFER]);
    loop {
        let came = connection.read(&mut buffer).await;
        let came = came.map_err(|cause| StreamFailure::Connection("recv", cause))?;
        let Some(bytes) = buffer.get(..came).filter(|bytes| !bytes.is_empty()) else {
            return Ok(StreamEnd::Complete);
        };
        let written = async {
            output.write_all(bytes).await?;
            output.flush().await
        };
        match written.await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(StreamEnd::OutputClosed),
            Err(cause) => return Err(StreamFailure::Standard("write", "standard output", cause)),
        }
    }
}
