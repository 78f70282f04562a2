//! From the arguments to a connection, and its data.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gqos::connect::{AcceptError, ConnectError, Connection, DatagramConnection, Flow, Host};
use gqos::failure::KernelCall;
use tokio::net::{UdpSocket, lookup_host};

use super::arguments::{Arguments, DestinationArgument};
use super::screen::Screen;
use super::{datagrams, streams};

/// Connects or accepts, and exchanges data until both directions have ended.
///
/// - **Errors**: the refusal, which is not printed yet; a call that failed, on the socket or on the standard streams.
pub(super) async fn run(
    host: &Host,
    arguments: &Arguments,
    destination: &DestinationArgument,
) -> Result<(), ConnectError> {
    let addresses = addresses(arguments, destination).await?;
    let screen = Screen { json: arguments.json };
    let session = Session { host, arguments, screen };
    if arguments.udp {
        let (connection, first) = match arguments.listen {
            true => session.accept_udp(&addresses).await?,
            false => (session.connect_udp(&addresses).await?, Vec::new()),
        };
        let exchange = datagrams::exchange(&connection, first, arguments.idle);
        session.beside(connection.flow(), exchange).await
    } else {
        let connection = match arguments.listen {
            true => session.accept(&addresses).await?,
            false => session.connect(&addresses).await?,
        };
        let flow = std::sync::Arc::clone(connection.flow());
        session.beside(&flow, streams::exchange(connection)).await
    }
}

struct Session<'a> {
    host: &'a Host,
    arguments: &'a Arguments,
    screen: Screen,
}

impl Session<'_> {
    /// Connects to the first of these addresses that answers. A refusal ends the attempts: it is an answer.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<Connection, ConnectError> {
        let mut tried = Err(none());
        for address in addresses {
            tried = self.host.connector().connect(*address, &self.arguments.to_ask()).await;
            if !matches!(tried, Err(ConnectError::Kernel(_))) {
                break;
            }
        }
        let connection = tried?;
        self.report(connection.flow());
        Ok(connection)
    }

    async fn connect_udp(&self, addresses: &[SocketAddr]) -> Result<DatagramConnection, ConnectError> {
        let mut tried = Err(none());
        for address in addresses {
            tried = self.host.connector().connect_udp(*address, &self.arguments.to_ask()).await;
            if !matches!(tried, Err(ConnectError::Kernel(_))) {
                break;
            }
        }
        let connection = tried?;
        self.report(connection.flow());
        Ok(connection)
    }

    /// Accepts one connection.
    async fn accept(&self, addresses: &[SocketAddr]) -> Result<Connection, ConnectError> {
        let address = *addresses.first().ok_or_else(none)?;
        let listener = self.host.listen(address, self.arguments.to_ask()).await?;
        let local = listener.local_addr().map_err(|cause| failed("getsockname", address, cause))?;
        self.screen.listening(local);
        match listener.accept().await {
            Ok(connection) => {
                self.report(connection.flow());
                Ok(connection)
            }
            // Dropping its stream closes the connection.
            Err(AcceptError::Refused { decision, .. }) => Err(ConnectError::Refused(decision)),
            Err(AcceptError::Flow(error)) => Err(error),
            Err(AcceptError::Accept(failure)) => Err(failure.into()),
            Err(other) => Err(failed("accept", address, io::Error::other(other.to_string()))),
        }
    }

    /// Receives the first datagram, connects to its sender, and reserves.
    async fn accept_udp(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<(DatagramConnection, Vec<u8>), ConnectError> {
        let address = *addresses.first().ok_or_else(none)?;
        let socket = UdpSocket::bind(address).await.map_err(|cause| failed("bind", address, cause))?;
        let local = socket.local_addr().map_err(|cause| failed("getsockname", address, cause))?;
        self.screen.listening(local);
        let mut first = vec![0; datagrams::LARGEST];
        let received = socket.recv_from(&mut first).await;
        let (length, peer) = received.map_err(|cause| failed("recvfrom", local, cause))?;
        first.truncate(length);
        socket.connect(peer).await.map_err(|cause| failed("connect", peer, cause))?;
        let connection = self.host.adopt(socket)?;
        connection.flow().reserve(&self.arguments.to_ask()).await?;
        self.report(connection.flow());
        Ok((connection, first))
    }

    fn report(&self, flow: &Flow) {
        if let Some(decision) = flow.decision() {
            self.screen.decision(&decision, self.host);
        }
    }

    /// Exchanges data, and reports the loss of the flow's reservation meanwhile.
    async fn beside(
        &self,
        flow: &Flow,
        exchange: impl Future<Output = Result<(), ConnectError>>,
    ) -> Result<(), ConnectError> {
        let report_loss = async {
            let lost = flow.until_lost().await;
            self.screen.lost(&lost);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = exchange => ended,
            () = report_loss => Ok(()),
        }
    }
}

/// The addresses of a host, of the versions of IP that are wanted; one at least.
///
/// - **Errors**: what `getaddrinfo` answered, or no address of that version.
async fn addresses(
    arguments: &Arguments,
    destination: &DestinationArgument,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let DestinationArgument { host, port } = destination;
    let Some(host) = host else {
        let any: IpAddr = match arguments.ipv6 {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => Ipv4Addr::UNSPECIFIED.into(),
        };
        return Ok(vec![(any, *port).into()]);
    };
    let resolve = |cause: io::Error| KernelCall("getaddrinfo").failed(host.clone(), cause);
    let found = lookup_host((host.as_str(), *port)).await.map_err(resolve)?;
    let is_wanted =
        |address: &SocketAddr| !(arguments.ipv4 && address.is_ipv6() || arguments.ipv6 && address.is_ipv4());
    let addresses: Vec<_> = found.filter(is_wanted).collect();
    if addresses.is_empty() {
        let version = if arguments.ipv4 { "IPv4" } else { "IPv6" };
        return Err(resolve(io::Error::other(format!("no address of {version}"))).into());
    }
    Ok(addresses)
}

fn failed(call: &str, address: SocketAddr, cause: io::Error) -> ConnectError {
    ConnectError::socket(call, address, cause)
}

/// The list of addresses has one at least; this answers for a resolver that breaks that.
fn none() -> ConnectError {
    KernelCall("getaddrinfo").failed("host", io::Error::other("no address")).into()
}
