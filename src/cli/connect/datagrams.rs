//! The datagrams of a UDP socket.

use std::io;
use std::time::Duration;

use flowspec::{Direction, Micros};
use gqos::connect::{ConnectError, DatagramConnection};
use gqos::failure::KernelCall;
use tokio::io::{AsyncReadExt, AsyncWriteExt, stdin, stdout};
use tokio::sync::watch;

/// The largest payload of a datagram: the 16 bits of its length.
pub(super) const LARGEST: usize = 65_535;

/// Sends each read of standard input as a datagram, and prints what arrives, `first` before it. Ends once standard input
/// has ended and nothing has arrived for the idle time.
///
/// - **Errors**: the socket failed; the standard streams did. A reader that closed standard output ends the exchange.
pub(super) async fn exchange(
    connection: &DatagramConnection,
    first: Vec<u8>,
    idle: Micros,
) -> Result<(), ConnectError> {
    let (ended, input) = watch::channel(());
    let sending = async {
        send(connection).await?;
        // The receiver sees the end of standard input as the end of this channel.
        drop(ended);
        std::future::pending().await
    };
    tokio::select! {
        received = receive(connection, first, (input, Duration::from_micros(idle.get()))) => received,
        failed = sending => failed,
    }
}

/// Sends standard input.
async fn send(connection: &DatagramConnection) -> Result<(), ConnectError> {
    let mut input = stdin();
    loop {
        let mut buffer = vec![0; payload(connection)];
        let read = input.read(&mut buffer).await;
        let read = read.map_err(|cause| KernelCall("read").failed("standard input", cause))?;
        if read == 0 {
            return Ok(());
        }
        buffer.truncate(read);
        let sent = connection.send(&buffer).await;
        sent.map_err(|cause| ConnectError::socket("send", connection.peer(), cause))?;
    }
}

/// The payload of one datagram: what the flow's max_sdu_size leaves; what an Ethernet frame carries where nothing is
/// reserved.
fn payload(connection: &DatagramConnection) -> usize {
    const ETHERNET_V4: usize = 1500 - 20 - 8;
    const ETHERNET_V6: usize = 1500 - 40 - 8;
    let unreserved = if connection.peer().is_ipv4() { ETHERNET_V4 } else { ETHERNET_V6 };
    let reserved = connection.control().largest_datagram(Direction::Sending);
    reserved.and_then(|largest| usize::try_from(largest).ok()).unwrap_or(unreserved)
}

/// Prints what arrives.
async fn receive(
    connection: &DatagramConnection,
    first: Vec<u8>,
    (mut input, idle): (watch::Receiver<()>, Duration),
) -> Result<(), ConnectError> {
    let (mut output, mut buffer) = (stdout(), first);
    loop {
        let written = async {
            output.write_all(&buffer).await?;
            output.flush().await
        };
        match written.await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(cause) => return Err(KernelCall("write").failed("standard output", cause).into()),
        }
        buffer.resize(LARGEST, 0);
        let is_over = async {
            // The sender is dropped at the end of standard input.
            while input.changed().await.is_ok() {}
            tokio::time::sleep(idle).await;
        };
        let came = tokio::select! {
            came = connection.recv(&mut buffer) => came,
            () = is_over => return Ok(()),
        };
        let came = came.map_err(|cause| ConnectError::socket("recv", connection.peer(), cause))?;
        buffer.truncate(came);
    }
}
