//! AF_UNIX stream sockets: the peer's credentials, and descriptors that come with the bytes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::socket_option::read_option;
use crate::failure::{KernelCall, KernelFailure};

/// The process at the other end of a connection, by what the kernel recorded when it connected.
#[derive(Debug)]
pub struct LocalPeer {
    /// Its effective user then.
    pub uid: u32,
    /// Its effective group then.
    pub gid: u32,
    /// Its number; `None` where it is in another PID namespace.
    pub pid: Option<u32>,
    /// The process itself, which its number may outlive; `None` where the kernel has no SO_PEERPIDFD.
    process: Option<OwnedFd>,
}

/// What one call has received.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 at the end of the stream.
    pub bytes: usize,
    /// The descriptors that came with them.
    pub descriptors: Vec<OwnedFd>,
    /// Whether there were more descriptors than are taken; the kernel has closed the others.
    pub truncated: bool,
}

impl LocalPeer {
    /// The peer of a connected socket.
    ///
    /// - **Errors**: `getsockopt`.
    /// - **Source**: unix(7), SO_PEERCRED; `asm-generic/socket.h`, SO_PEERPIDFD (Linux 6.5).
    pub fn of(socket: &impl AsFd) -> Result<Self, KernelFailure> {
        let credentials = getsockopt(socket, PeerCredentials)
            .map_err(|errno| KernelCall("getsockopt(SO_PEERCRED)").failed("control socket", errno))?;
        let pid = u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0);
        let process = peer_pidfd(socket);
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid, process })
    }

    /// The path of its control group in the unified hierarchy, where it still runs and `/proc` names one.
    pub fn cgroup(&self) -> Option<String> {
        let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid?)).ok()?;
        // Read before this: had the process ended by then, its number could be another's.
        if !self.runs() {
            return None;
        }
        cgroups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    }

    /// Its supplementary groups, where it still runs. Source: proc(5), `status`.
    pub fn groups(&self) -> Vec<u32> {
        let Some(pid) = self.pid else { return Vec::new() };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if !self.runs() {
            return Vec::new();
        }
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
        groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
    }

    /// Whether the process has not ended; `false` where that cannot be told.
    fn runs(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let mut polled = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut polled, nix::poll::PollTimeout::ZERO) == Ok(0)
    }
}

/// SO_PEERPIDFD, `asm-generic/socket.h`.
const SO_PEERPIDFD: libc::c_int = 77;

fn peer_pidfd(socket: &impl AsFd) -> Option<OwnedFd> {
    let descriptor: libc::c_int = read_option(socket, libc::SOL_SOCKET, SO_PEERPIDFD).ok()?;
    // SAFETY: the kernel has made this descriptor for the caller.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Receives bytes and the descriptors that came with them, which are closed on exec. Does not block on a non-blocking
/// socket.
///
/// Descriptors come with the last of the bytes: the kernel ends a read behind the bytes that they were sent with.
///
/// - **Errors**: `recvmsg`, as it is: EAGAIN where nothing has come.
/// - **Source**: unix(7), SCM_RIGHTS; recvmsg(2), MSG_CMSG_CLOEXEC.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = ControlBuffer::default();
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is made of integers and pointers, for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = size_of::<ControlBuffer>();
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: `message` names buffers that are valid for writes of their lengths until the call returns.
    let bytes = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) };
    let bytes = Errno::result(bytes)?.unsigned_abs();
    // Whatever else is wrong, the kernel has made these descriptors, and they are to be closed.
    let descriptors = received_descriptors(&message);
    Ok(Received { bytes, descriptors, truncated: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// Waits until bytes can be received, and receives them, as [`receive`] does. Cancelled, it has received nothing.
///
/// What does not fill the buffer and has no descriptor was all that there is, so that the next call waits without asking the
/// kernel in vain.
///
/// - **Errors**: `recvmsg`, as it is.
/// - **Source**: `net/unix/af_unix.c`, `unix_stream_read_generic`: a read ends where the buffer is full, where nothing is left,
///   and behind a descriptor.
pub(crate) async fn receive_next(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        stream.readable().await?;
        let mut came = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let received = came.insert(receive(stream, buffer)?);
            let is_all = received.bytes > 0
                && received.bytes < buffer.len()
                && received.descriptors.is_empty()
                && !received.truncated;
            // Says that the socket is no longer readable.
            if is_all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (came, tried) {
            (Some(received), _) => return Ok(received),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            (None, _) => {}
        }
    }
}

/// Space for one control message with a descriptor, aligned as the kernel's headers are. A second descriptor fits in what
/// the alignment adds.
#[derive(Default)]
#[repr(C)]
struct ControlBuffer([u64; 3]);

/// The descriptors in the control messages that a call has filled in.
fn received_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the message is as `recvmsg` has left it, and its buffers still exist.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give headers inside of the buffer alone.
        let header = unsafe { &*next };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the data begins behind the header.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: the call takes a number alone.
            let before = unsafe { libc::CMSG_LEN(0) };
            let length = header.cmsg_len.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
            for number in 0..length / size_of::<RawFd>() {
                // SAFETY: the data holds as many numbers of descriptors, which need not be aligned; the kernel has made
                // them for the caller.
                descriptors
                    .push(unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().add(number).read_unaligned()) });
            }
        }
        // SAFETY: `next` is a header of this message.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::IoSlice;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::super::descriptors::send_with_descriptor as send;
    use super::*;

    /// Waits until a peer that reads has made space.
    fn writable(socket: &UnixStream) {
        let mut polled = [nix::poll::PollFd::new(socket.as_fd(), nix::poll::PollFlags::POLLOUT)];
        let ready = nix::poll::poll(&mut polled, 60_000_u16);
        assert!(ready == Ok(1) || ready == Err(Errno::EINTR), "{ready:?}");
    }

    #[test]
    fn a_descriptor_comes_with_its_bytes_and_is_closed_on_exec() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(send(&a, b"first", None).unwrap(), 5);
        assert_eq!(send(&a, b"second", Some(file.as_fd())).unwrap(), 6);
        assert_eq!(send(&a, b"third", None).unwrap(), 5);
        let mut buffer = [0; 64];
        let received = receive(&b, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.bytes], b"firstsecond", "the read ends behind the descriptor");
        let [descriptor] = &received.descriptors[..] else { panic!("{received:?}") };
        assert!(!received.truncated);
        let flags = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
        let received = receive(&b, &mut buffer).unwrap();
        assert_eq!((&buffer[..received.bytes], received.descriptors.len()), (&b"third"[..], 0));
        assert_eq!(receive(&b, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(receive(&b, &mut buffer).unwrap().bytes, 0, "the end of the stream");
    }

    /// What comes in a runtime, of bytes that were sent with or without a descriptor before and after it waits.
    #[tokio::test]
    async fn everything_comes_without_a_read_in_vain() {
        let (a, b) = UnixStream::pair().unwrap();
        b.set_nonblocking(true).unwrap();
        let b = tokio::net::UnixStream::from_std(b).unwrap();
        let file = File::open("/proc/self/status").unwrap();
        let mut buffer = [0; 8];
        let late = std::thread::spawn(move || {
            for number in 0..1000_usize {
                let descriptor = number.is_multiple_of(3).then(|| file.as_fd());
                let sent = loop {
                    match send(&a, b"message", descriptor) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable(&a),
                        sent => break sent.unwrap(),
                    }
                };
                assert_eq!(sent, 7);
                if number.is_multiple_of(100) {
                    std::thread::yield_now();
                }
            }
        });
        let (mut bytes, mut descriptors) = (0, 0);
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), receive_next(&b, &mut buffer));
            let received = next.await.expect("what was sent comes").unwrap();
            if received.bytes == 0 {
                break;
            }
            bytes += received.bytes;
            descriptors += received.descriptors.len();
        }
        late.join().unwrap();
        assert_eq!((bytes, descriptors), (7000, 334));
    }

    #[test]
    fn descriptors_that_are_too_many_are_received_or_closed_by_the_kernel() {
        let (a, b) = UnixStream::pair().unwrap();
        for count in [2, 3, 253] {
            let file = File::open("/proc/self/stat").unwrap();
            let rights = [ControlMessage::ScmRights(&vec![file.as_raw_fd(); count])];
            sendmsg::<()>(a.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).unwrap();
            let received = receive(&b, &mut [0; 8]).unwrap();
            assert_eq!((received.bytes, received.descriptors.len(), received.truncated), (1, 2, count > 2));
        }
    }

    #[test]
    fn the_peer_is_this_process() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = LocalPeer::of(&a).unwrap();
        let own = super::super::owner();
        assert_eq!((peer.uid, peer.gid, peer.pid), (own.uid, own.gid, Some(std::process::id())));
        if peer.process.is_some() {
            assert!(peer.runs());
            assert_eq!(peer.cgroup(), own.cgroup);
        }
    }
}
