//! Binding, listening, accepting, and calls that a close ends.

use std::io::Write;
use std::sync::Arc;

use flowspec::Wsa;
use gqos_winsock::{Endpoint, Family, MessageFlags, OptionValue, Socket, SocketOption, SocketType};

use super::common::{Blocked, address, listener};
use super::{plain, start, tcp, udp};

#[test]
fn both_ends_of_an_accepted_connection_transfer_data() {
    let listener = tcp();
    listener.bind(address("127.0.0.1:0")).unwrap();
    assert_eq!(listener.bind(address("127.0.0.1:0")), Err(Wsa::Einval), "bound already");
    assert_eq!(udp().listen(1), Err(Wsa::Eopnotsupp));
    assert_eq!(tcp().listen(1), Err(Wsa::Einval), "without a local address");
    listener.listen(5).unwrap();
    let client = tcp();
    client.connect(listener.local_address().unwrap(), &plain()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(Ok(peer), client.local_address());
    assert_eq!(client.send(b"hello", MessageFlags::default()), Ok(5));
    let mut buffer = [0; 8];
    assert_eq!(server.receive(&mut buffer, MessageFlags { peek: true, ..MessageFlags::default() }), Ok(5));
    assert_eq!(server.receive(&mut buffer, MessageFlags::default()), Ok(5));
    server.close().unwrap();
    assert_eq!(client.receive(&mut buffer, MessageFlags::default()), Ok(0), "the end of the stream");
}

#[test]
fn a_close_from_another_thread_ends_an_accept() {
    let socket = tcp();
    socket.bind(address("127.0.0.1:0")).unwrap();
    socket.listen(1).unwrap();
    let number = socket.number();
    let accepting = Blocked::start(&socket, |socket| socket.accept().map(drop));
    socket.close().unwrap();
    assert_eq!(accepting.join(), Err(Wsa::Eintr));
    assert!(matches!(Socket::from_raw(number), Err(Wsa::Enotsock)));
}

#[test]
fn a_close_from_another_thread_ends_a_receive() {
    let (listener, peer) = listener();
    let socket = tcp();
    socket.connect(peer, &plain()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let receive = |socket: &Arc<Endpoint>| socket.receive(&mut [0; 8], MessageFlags::default());
    let first = Blocked::start(&socket, receive);
    other.write_all(b"hello").unwrap();
    assert_eq!(first.join(), Ok(5));
    let second = Blocked::start(&socket, receive);
    socket.close().unwrap();
    assert_eq!(second.join(), Err(Wsa::Eintr));
}

/// A sharing mode and an address, as the first or the second socket on a port.
#[derive(Clone, Copy)]
struct Binding {
    name: &'static str,
    mode: Option<SocketOption>,
    wildcard: bool,
}

const BINDINGS: [Binding; 6] = [
    Binding { name: "default wildcard", mode: None, wildcard: true },
    Binding { name: "default specific", mode: None, wildcard: false },
    Binding { name: "reuse wildcard", mode: Some(SocketOption::ReuseAddress), wildcard: true },
    Binding { name: "reuse specific", mode: Some(SocketOption::ReuseAddress), wildcard: false },
    Binding { name: "exclusive wildcard", mode: Some(SocketOption::ExclusiveAddressUse), wildcard: true },
    Binding { name: "exclusive specific", mode: Some(SocketOption::ExclusiveAddressUse), wildcard: false },
];

/// A line for each first socket, a column for each second one: I is WSAEADDRINUSE, A is WSAEACCES, a dot success.
const SHARING: [&str; 6] = ["I.A.I.", ".I.AII", "I...I.", ".I..II", "IAAAIA", ".I.AII"];

/// Binds a socket, then another one to the same port.
#[track_caller]
fn check_sharing(family: Family, kind: SocketType, [first, second]: [Binding; 2], expected: Result<(), Wsa>) {
    let socket = |mode: Option<SocketOption>| {
        let socket = Socket::open(family, kind).unwrap();
        if let Some(mode) = mode {
            socket.set_option(mode, OptionValue::Number(1)).unwrap();
        }
        socket
    };
    let name = |wildcard| match (family, wildcard) {
        (Family::Inet, true) => address("0.0.0.0:0"),
        (Family::Inet, false) => address("127.0.0.1:0"),
        (Family::Inet6, true) => address("[::]:0"),
        (Family::Inet6, false) => address("[::1]:0"),
    };
    let earlier = socket(first.mode);
    earlier.bind(name(first.wildcard)).unwrap();
    let mut there = name(second.wildcard);
    there.set_port(earlier.local_address().unwrap().port());
    let bound = socket(second.mode).bind(there);
    assert_eq!(bound, expected, "{kind:?} {family:?}: {}, then {}", first.name, second.name);
}

#[test]
fn bind_follows_windows_table_of_sharing_modes() {
    start();
    for family in [Family::Inet, Family::Inet6] {
        for kind in [SocketType::Stream, SocketType::Datagram] {
            for (first, line) in BINDINGS.into_iter().zip(SHARING) {
                for (second, letter) in BINDINGS.into_iter().zip(line.chars()) {
                    let expected = match letter {
                        'I' => Err(Wsa::Eaddrinuse),
                        'A' => Err(Wsa::Eacces),
                        _ => Ok(()),
                    };
                    check_sharing(family, kind, [first, second], expected);
                }
            }
        }
    }
    let both = tcp();
    both.set_option(SocketOption::ReuseAddress, OptionValue::Number(1)).unwrap();
    assert_eq!(both.set_option(SocketOption::ExclusiveAddressUse, OptionValue::Number(1)), Err(Wsa::Einval));
}
