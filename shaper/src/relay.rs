//! Moves what one TCP socket receives to another one, shaped, and without a copy in user space.
//!
//! Takes two sockets, of which a [`Control`] shapes one. What is moved stays in the source's receive buffer until there are
//! tokens for it: a relay that waits holds neither data nor memory.

use std::future::poll_fn;
use std::io;

use flowspec::Direction;
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

use crate::clock;
use crate::control::Control;
use crate::pipes::{BUFFER, PooledPipe, put_buffer, take_buffer};
use crate::sys::{receive, unread};
use crate::timer::Timer;
use crate::tokens::poll_tokens;

/// Moves data in one direction between two sockets.
///
/// Each transfer is charged with what the kernel has accepted: of the socket that is sent to where the direction is
/// [`Direction::Sending`], of the one that is received from where it is [`Direction::Receiving`].
pub struct Relay<'a> {
    sockets: Ends<'a>,
    control: &'a Control,
    direction: Direction,
    path: DataPath,
    held: UnsentBytes,
    timer: Timer,
}

/// The sockets of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Received from.
    pub from: &'a TcpStream,
    /// Sent to.
    pub to: &'a TcpStream,
}

/// How data is moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum DataPath {
    /// By splice(2), through a pipe; copied where that is not possible.
    #[default]
    Splice,
    /// By a buffer of this process.
    Copy,
}

/// Which socket of a relay has failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The one that is received from.
    #[error("receiving: {0}")]
    From(#[source] io::Error),
    /// The one that is sent to.
    #[error("sending: {0}")]
    To(#[source] io::Error),
}

/// What was received and not sent yet.
#[derive(Debug, Default)]
enum UnsentBytes {
    #[default]
    Nothing,
    /// Never empty.
    Piped(PooledPipe),
    /// The bytes from `start` to `end`, never none.
    Copied { bytes: Vec<u8>, start: usize, end: usize },
}

/// The most that is moved at once.
const MOST: usize = 256 << 10;

impl<'a> Relay<'a> {
    /// A relay of these sockets; `control` shapes the one that sends or receives, by `direction`.
    pub fn new(sockets: Ends<'a>, control: &'a Control, direction: Direction, path: DataPath) -> Self {
        Self { sockets, control, direction, path, held: UnsentBytes::Nothing, timer: Timer::default() }
    }

    /// Moves what has come, once there are tokens for it, and gives how many bytes were sent: zero once the source has
    /// ended and everything was sent. The end itself is not passed on.
    ///
    /// A future that is dropped loses nothing, and costs no tokens.
    ///
    /// - **Errors**: those of the sockets. What the source sent before it failed is passed on first.
    pub async fn pass(&mut self) -> Result<usize, RelayError> {
        self.pass_at_most(MOST).await
    }

    /// The same, and takes no more than so many bytes from the source; at least one.
    ///
    /// - **Errors**: as for [`pass`](Self::pass).
    pub async fn pass_at_most(&mut self, most: usize) -> Result<usize, RelayError> {
        loop {
            // Sockets that are always ready would keep the other tasks of the thread from running.
            consume_budget().await;
            let passed = match self.held.len() {
                0 => self.pass_new(most.clamp(1, MOST)).await?,
                held => self.pass_held(held).await?,
            };
            if let Some(passed) = passed {
                return Ok(passed);
            }
        }
    }

    /// Moves what is held; `None` where the sink took nothing.
    async fn pass_held(&mut self, held: usize) -> Result<Option<usize>, RelayError> {
        self.sockets.to.writable().await.map_err(RelayError::To)?;
        let granted = match self.direction {
            Direction::Sending => self.tokens(held).await?,
            // It was charged when it was received.
            Direction::Receiving => return self.give(held),
        };
        let given = self.give(granted);
        self.complete_sent(granted, &given);
        given
    }

    /// Moves what the source has received; `None` where there was nothing yet.
    async fn pass_new(&mut self, most: usize) -> Result<Option<usize>, RelayError> {
        let Ends { from, to } = self.sockets;
        let (wanted, path) = match unread(from).map_err(RelayError::From)? {
            0 if self.something_comes().await? => match unread(from).map_err(RelayError::From)? {
                // It is behind urgent data, which splice(2) does not go beyond.
                0 => (1, DataPath::Copy),
                unread => (unread, self.path),
            },
            0 => return Ok(Some(0)),
            unread => (unread, self.path),
        };
        to.writable().await.map_err(RelayError::To)?;
        let granted = self.tokens(wanted.min(most)).await?;
        let taken = self.take(granted, path);
        if self.direction == Direction::Receiving {
            self.complete(granted, taken.as_ref().ok().copied());
        }
        let is_blocked = matches!(&taken, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let given = match taken {
            Ok(0) => Ok(Some(0)),
            Ok(taken) => self.give(taken),
            Err(error) => none_if_blocked(error).map_err(RelayError::From),
        };
        if self.direction == Direction::Sending {
            self.complete_sent(granted, &given);
        }
        if is_blocked {
            self.something_comes().await?;
        }
        given
    }

    /// Waits until the source has received something, or has ended: then `false`.
    async fn something_comes(&self) -> Result<bool, RelayError> {
        let from = self.sockets.from;
        let peeked = poll_fn(|cx| from.poll_peek(cx, &mut ReadBuf::new(&mut [0]))).await;
        peeked.map(|seen| seen > 0).map_err(RelayError::From)
    }

    async fn tokens(&mut self, wanted: usize) -> Result<usize, RelayError> {
        let Self { control, direction, timer, .. } = self;
        let granted = poll_fn(|cx| poll_tokens(control, *direction, timer, cx, wanted)).await;
        granted.map_err(RelayError::To)
    }

    fn complete_sent(&self, granted: usize, given: &Result<Option<usize>, RelayError>) {
        self.complete(granted, given.as_ref().ok().map(|given| given.unwrap_or(0)));
    }

    fn complete(&self, granted: usize, passed: Option<usize>) {
        self.control.state(self.direction).complete(clock::now(), granted, passed);
    }

    /// Takes at most `most` bytes from the source; zero at its end.
    fn take(&mut self, most: usize, path: DataPath) -> io::Result<usize> {
        debug_assert_eq!(self.held.len(), 0, "what is held is sent first");
        let from = self.sockets.from;
        if path == DataPath::Splice
            && let Ok(mut pooled) = PooledPipe::take()
        {
            match pooled.pipe().fill(from, most) {
                Ok(moved @ 1..) => {
                    self.held = UnsentBytes::Piped(pooled);
                    return Ok(moved);
                }
                // It may be the end, or urgent data.
                Ok(0) => pooled.put(),
                Err(error) => {
                    pooled.put();
                    if cannot_splice(&error) {
                        self.path = DataPath::Copy;
                    } else if error.kind() != io::ErrorKind::WouldBlock {
                        return Err(error);
                    }
                }
            }
        }
        let mut bytes = take_buffer();
        match receive(from, &mut bytes[..most.min(BUFFER)]) {
            Ok(end @ 1..) => {
                self.held = UnsentBytes::Copied { bytes, start: 0, end };
                Ok(end)
            }
            other => {
                put_buffer(bytes);
                other
            }
        }
    }

    /// Sends at most `most` bytes of what is held; `None` where the sink takes nothing now.
    fn give(&mut self, most: usize) -> Result<Option<usize>, RelayError> {
        let to = self.sockets.to;
        let given = match &mut self.held {
            UnsentBytes::Nothing => return Ok(None),
            UnsentBytes::Piped(pooled) => {
                let drained = to.try_io(Interest::WRITABLE, || pooled.pipe().drain(to, most));
                match drained {
                    Err(error) if cannot_splice(&error) => {
                        self.path = DataPath::Copy;
                        let bytes = pooled.pipe().read_all().map_err(RelayError::To)?;
                        let end = bytes.len();
                        self.held = UnsentBytes::Copied { bytes, start: 0, end };
                        return self.give(most);
                    }
                    drained => drained,
                }
            }
            UnsentBytes::Copied { bytes, start, end } => {
                let part = *start..end.saturating_sub(*start).min(most).saturating_add(*start);
                to.try_write(&bytes[part]).inspect(|sent| *start += sent)
            }
        };
        if self.held.len() == 0 {
            std::mem::take(&mut self.held).put();
        }
        match given {
            Ok(0) => Err(RelayError::To(io::ErrorKind::WriteZero.into())),
            Ok(given) => Ok(Some(given)),
            Err(error) => none_if_blocked(error).map_err(RelayError::To),
        }
    }
}

fn none_if_blocked(error: io::Error) -> io::Result<Option<usize>> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) }
}

/// Whether a socket, or a filter of system calls, does not allow splice(2).
fn cannot_splice(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

impl UnsentBytes {
    fn len(&mut self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Piped(pooled) => pooled.pipe().held(),
            Self::Copied { start, end, .. } => *end - *start,
        }
    }

    /// Leaves the pipe or the buffer to other relays.
    fn put(self) {
        match self {
            Self::Nothing => {}
            Self::Piped(pooled) => pooled.put(),
            Self::Copied { bytes, .. } => put_buffer(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    const PATHS: [DataPath; 2] = [DataPath::Splice, DataPath::Copy];

    /// Two ends with receive buffers of a fixed size: the kernel's own may grow to tens of megabytes.
    async fn pair() -> (TcpStream, TcpStream) {
        let receiving = |socket: TcpSocket| {
            socket.set_recv_buffer_size(256 << 10).expect("a receive buffer");
            socket
        };
        // A connection inherits the buffer of its listener.
        let listener = receiving(TcpSocket::new_v4().expect("a socket"));
        listener.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let listener = listener.listen(1).expect("listens");
        let address = listener.local_addr().expect("its address");
        let connecting = receiving(TcpSocket::new_v4().expect("a socket")).connect(address);
        let (one, other) = tokio::join!(connecting, listener.accept());
        (one.expect("connected"), other.expect("accepted").0)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).expect("less than 251")).collect()
    }

    #[tokio::test]
    async fn a_sink_that_takes_nothing_holds_its_source_back_and_a_dropped_future_loses_nothing() {
        for path in PATHS {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            let sent = pattern(20_000_000);
            let expected = sent.clone();
            let writes = tokio::spawn(async move {
                source.write_all(&sent).await.expect("the relay reads");
                source.shutdown().await.expect("a shutdown");
            });
            let control = Control::default();
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Sending, path);
            // Every wait is broken off: what is held stays.
            let mut passed = 0;
            while let Ok(result) = timeout(Duration::from_millis(300), relay.pass()).await {
                passed += result.expect("a transfer");
            }
            assert!(passed < expected.len() && !writes.is_finished(), "{path:?}: {passed} bytes");
            match (&relay.held, path) {
                (UnsentBytes::Piped(_) | UnsentBytes::Nothing, DataPath::Splice) => {}
                (UnsentBytes::Copied { .. } | UnsentBytes::Nothing, DataPath::Copy) => {}
                (held, _) => panic!("{path:?}: {held:?}"),
            }
            let reads = tokio::spawn(async move {
                let mut received = Vec::new();
                sink.read_to_end(&mut received).await.expect("whole");
                received
            });
            loop {
                match timeout(Duration::from_micros(50), relay.pass()).await.unwrap_or(Ok(1)) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => panic!("{path:?}: {error}"),
                }
            }
            assert_eq!(control.stats(Direction::Sending).bytes, 20_000_000, "{path:?}");
            drop(relay);
            drop(to);
            assert!(reads.await.expect("the reader") == expected, "{path:?}: bytes were changed");
            writes.await.expect("the writer");
        }
    }

    #[tokio::test]
    async fn data_that_is_passed_on_is_spliced_unless_it_is_to_be_copied() {
        for path in PATHS {
            let ((mut source, from), (to, _sink)) = (pair().await, pair().await);
            source.write_all(b"some data").await.expect("written");
            from.readable().await.expect("it comes");
            let control = Control::default();
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Sending, path);
            assert_eq!(relay.take(4, path).expect("taken"), 4);
            assert_eq!(matches!(relay.held, UnsentBytes::Piped(_)), path == DataPath::Splice, "{path:?}");
            assert_eq!(relay.give(3).expect("given"), Some(3));
            assert_eq!((relay.held.len(), relay.give(9).expect("given")), (1, Some(1)));
            assert_eq!(relay.held.len(), 0);
        }
    }

    #[tokio::test]
    async fn urgent_data_stops_nothing() {
        use std::os::fd::AsRawFd;
        for path in PATHS {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            source.write_all(b"before").await.expect("written");
            crate::sys::send_urgent(source.as_raw_fd(), b"!");
            source.write_all(b"after").await.expect("written");
            drop(source);
            let control = Control::default();
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Receiving, path);
            let end = timeout(Duration::from_secs(10), async {
                while relay.pass().await.expect("a transfer") > 0 {}
            });
            end.await.expect("it ends");
            drop(relay);
            drop(to);
            let mut received = Vec::new();
            sink.read_to_end(&mut received).await.expect("whole");
            assert_eq!(received, b"beforeafter", "{path:?}");
            assert_eq!(control.stats(Direction::Receiving).bytes, 11);
        }
    }

    #[tokio::test]
    async fn what_a_source_sent_before_its_reset_is_passed_on_and_then_the_error() {
        for path in PATHS {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            source.write_all(b"a part").await.expect("written");
            from.readable().await.expect("it comes");
            source.set_zero_linger().expect("linger");
            drop(source);
            let control = Control::default();
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Sending, path);
            assert_eq!(relay.pass().await.expect("data"), 6);
            let error = relay.pass().await.expect_err("a reset");
            assert!(
                matches!(&error, RelayError::From(cause) if cause.kind() == io::ErrorKind::ConnectionReset)
            );
            let mut received = [0; 6];
            sink.read_exact(&mut received).await.expect("data");
            assert_eq!(&received, b"a part");
            // The other side.
            let ((mut source, from), (to, sink)) = (pair().await, pair().await);
            sink.set_zero_linger().expect("linger");
            drop(sink);
            let mut relay = Relay::new(Ends { from: &from, to: &to }, &control, Direction::Sending, path);
            let before = control.stats(Direction::Sending);
            source.write_all(b"too late").await.expect("written");
            let error = relay.pass().await.expect_err("a reset");
            assert!(matches!(error, RelayError::To(_)), "{error}");
            assert_eq!(control.stats(Direction::Sending), before, "{path:?}");
        }
    }
}
