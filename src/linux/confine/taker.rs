//! The thread that copies descriptors of other processes.
//!
//! The kernel lets a process that landlock restricts trace none that is not restricted alike, and to copy a descriptor is to
//! trace. This thread starts before the restriction; all that it can do is this, by a filter of its own.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;

use super::capabilities::{Capabilities, Capability};
use super::system_calls::SystemCallFilter;
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};

/// Asks the thread, which ends with this value.
#[derive(Clone, Debug)]
pub struct DescriptorTaker {
    asks: Sender<DescriptorRequest>,
}

#[derive(Debug)]
struct DescriptorRequest {
    /// The caller keeps it open until it has its answer.
    process: RawFd,
    descriptor: u32,
    reply: SyncSender<Result<OwnedFd, Errno>>,
}

impl DescriptorTaker {
    /// Starts the thread, which keeps CAP_SYS_PTRACE where this one has it.
    ///
    /// - **Errors**: the thread cannot be started, or not be confined; then there is none.
    pub(super) fn start() -> Result<Self, KernelFailure> {
        let (asks, asked) = channel();
        let (ready, is_ready) = sync_channel(1);
        let run = move || {
            let confined = block_signals().and_then(|()| confine_thread());
            let is_confined = confined.is_ok();
            // The other thread waits for it.
            let _ = ready.send(confined);
            if is_confined {
                serve(&asked);
            }
        };
        let thread = std::thread::Builder::new().name("gqos-adopt".into()).spawn(run);
        thread.map_err(|error| KernelCall("clone").failed("thread gqos-adopt", error))?;
        let ended = |_| KernelCall("clone").unexpected("thread gqos-adopt", AnswerProblem::ThreadPanicked);
        is_ready.recv().map_err(ended)??;
        Ok(Self { asks })
    }

    /// Copies a descriptor of a process, which is given by its own. The kernel answers without waiting for the process.
    ///
    /// - **Errors**: `pidfd_getfd`.
    pub(in crate::linux) fn copy(&self, process: &OwnedFd, descriptor: u32) -> Result<OwnedFd, Errno> {
        let (reply, answer) = sync_channel(1);
        // A thread that has panicked answers nothing.
        let _ = self.asks.send(DescriptorRequest { process: process.as_raw_fd(), descriptor, reply });
        answer.recv().unwrap_or(Err(Errno::ESRCH))
    }
}

/// Leaves the signals of the process to its other threads: what their handlers do, this thread's filter forbids.
///
/// - **Errors**: `pthread_sigmask`.
fn block_signals() -> Result<(), KernelFailure> {
    let blocked = SigSet::all().thread_block();
    blocked.map_err(|errno| KernelCall("pthread_sigmask").failed("thread gqos-adopt", errno))
}

/// Copies a descriptor of a process.
///
/// - **Errors**: `pidfd_getfd`.
/// - **Source**: pidfd_getfd(2).
pub(in crate::linux) fn copy_descriptor(process: RawFd, descriptor: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes three numbers and gives a descriptor or an error.
    let copied =
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, i64::from(process), i64::from(descriptor), 0) };
    let copied = i32::try_from(Errno::result(copied)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(copied) })
}

fn confine_thread() -> Result<(), KernelFailure> {
    // Where that is forbidden, the filter leaves no use for the others.
    let _ = Capabilities::of_thread().and_then(|held| held.keep(&[Capability::SysPtrace]));
    SystemCallFilter::of_taker().install().map(drop)
}

fn serve(asked: &Receiver<DescriptorRequest>) {
    while let Ok(DescriptorRequest { process, descriptor, reply }) = asked.recv() {
        // The caller waits for it.
        let _ = reply.send(copy_descriptor(process, descriptor));
    }
}
