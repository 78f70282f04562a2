//! The system calls that a confined thread makes, by a filter that the kernel runs.
//!
//! Source: seccomp(2), `linux/seccomp.h`, `linux/bpf_common.h`.

use nix::errno::Errno;
use nix::libc;

use super::calls::{self, ArgumentTest, Bounded};
use crate::failure::{KernelCall, KernelFailure};

/// The system calls that are allowed. Others fail with EPERM, and those that this program is too old to know with ENOSYS, for
/// which libraries have another way.
#[derive(Clone, Debug)]
pub(super) struct SystemCallFilter {
    allowed: Vec<libc::c_long>,
    bounded: Vec<Bounded>,
    /// Those that are answered as by a kernel that lacks them.
    absent: Vec<libc::c_long>,
}

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64, `linux/audit.h`; 0 where this program has no filter.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0
};

/// Where `struct seccomp_data` has what is tested.
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;

    /// The low half of an argument, on machines that have it first.
    pub(super) const fn argument(number: u8) -> u32 {
        16 + 8 * number as u32
    }
}

/// The last system call that was known when this list was made: file_setattr, Linux 6.17. Both architectures have the same
/// numbers from 424 on.
const LAST_KNOWN: u32 = 469;

/// Whether the kernel takes filters, which says so about one that cannot be read.
///
/// - **Errors**: `seccomp`; ENOSYS where this program knows no system calls of the architecture.
pub(super) fn offered() -> Result<(), KernelFailure> {
    let call = KernelCall("seccomp");
    if ARCHITECTURE == 0 {
        return Err(call.failed(std::env::consts::ARCH, Errno::ENOSYS));
    }
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: without a program nothing is set, and the kernel reads nothing of this process.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, none) };
    match Errno::result(set) {
        Err(Errno::EFAULT) | Ok(_) => Ok(()),
        Err(errno) => Err(call.failed("filter", errno)),
    }
}

impl SystemCallFilter {
    /// What the daemon does once it has bound its sockets.
    pub(super) fn of_daemon() -> Self {
        Self { allowed: calls::of_daemon(), bounded: calls::bounded(), absent: vec![libc::SYS_clone3] }
    }

    /// What the thread does that copies descriptors.
    pub(super) fn of_taker() -> Self {
        Self { allowed: calls::of_taker(), bounded: Vec::new(), absent: Vec::new() }
    }

    /// Filters the calls of this thread, and of those that it starts. How many are allowed.
    ///
    /// - **Errors**: `seccomp`; ENOSYS where this program knows no system calls of the architecture.
    pub(super) fn install(&self) -> Result<usize, KernelFailure> {
        let call = KernelCall("seccomp");
        if ARCHITECTURE == 0 {
            return Err(call.failed(std::env::consts::ARCH, Errno::ENOSYS));
        }
        let mut program = self.program();
        let length = libc::c_ushort::try_from(program.len()).unwrap_or(libc::c_ushort::MAX);
        let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the program is valid for reads of its length.
        let set = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) };
        Errno::result(set).map_err(|errno| call.failed(format!("filter of {length} instructions"), errno))?;
        Ok(self.allowed.len() + self.bounded.len())
    }

    fn program(&self) -> Vec<libc::sock_filter> {
        let mut program = FilterProgram::default();
        program.load(offset::ARCHITECTURE);
        program.unless_equal(ARCHITECTURE, CallVerdict::Fails(Errno::ENOSYS));
        program.load(offset::NUMBER);
        self.allowed.iter().for_each(|call| program.if_equal(number(*call), CallVerdict::Allowed));
        self.absent
            .iter()
            .for_each(|call| program.if_equal(number(*call), CallVerdict::Fails(Errno::ENOSYS)));
        self.bounded.iter().for_each(|bounded| program.bounded(bounded));
        // x32 calls, which x86_64 has under the same architecture, are above it as well.
        program.if_above(LAST_KNOWN, CallVerdict::Fails(Errno::ENOSYS));
        program.end(CallVerdict::Fails(Errno::EPERM));
        program.0
    }
}

fn number(call: libc::c_long) -> u32 {
    // A system call has a small number; this one no kernel has.
    u32::try_from(call).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug)]
enum CallVerdict {
    Allowed,
    Fails(Errno),
}

impl CallVerdict {
    fn value(self) -> u32 {
        match self {
            Self::Allowed => libc::SECCOMP_RET_ALLOW,
            Self::Fails(errno) => libc::SECCOMP_RET_ERRNO | (errno as i32).cast_unsigned(),
        }
    }
}

/// Instructions, the last one of which ends the program in each case.
#[derive(Default)]
struct FilterProgram(Vec<libc::sock_filter>);

/// BPF_LD | BPF_W | BPF_ABS, and so on.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ABOVE: u16 = 0x25;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

impl FilterProgram {
    fn step(&mut self, code: u16, k: u32, (jt, jf): (u8, u8)) {
        self.0.push(libc::sock_filter { code, jt, jf, k });
    }

    fn load(&mut self, offset: u32) {
        self.step(LOAD, offset, (0, 0));
    }

    fn end(&mut self, verdict: CallVerdict) {
        self.step(RETURN, verdict.value(), (0, 0));
    }

    fn if_equal(&mut self, value: u32, verdict: CallVerdict) {
        self.step(IF_EQUAL, value, (0, 1));
        self.end(verdict);
    }

    fn unless_equal(&mut self, value: u32, verdict: CallVerdict) {
        self.step(IF_EQUAL, value, (1, 0));
        self.end(verdict);
    }

    fn if_above(&mut self, value: u32, verdict: CallVerdict) {
        self.step(IF_ABOVE, value, (0, 1));
        self.end(verdict);
    }

    /// Ends with a verdict where the call is this one, and otherwise leaves its number loaded.
    fn bounded(&mut self, Bounded { call, argument, test }: &Bounded) {
        const DENIED: CallVerdict = CallVerdict::Fails(Errno::EPERM);
        let mut inner = Self::default();
        inner.load(offset::argument(*argument));
        let last = match test {
            ArgumentTest::OneOf(values) => {
                values.iter().for_each(|value| inner.if_equal(*value, CallVerdict::Allowed));
                DENIED
            }
            ArgumentTest::NoneOf(values) => {
                values.iter().for_each(|value| inner.if_equal(*value, DENIED));
                CallVerdict::Allowed
            }
            ArgumentTest::Bits { mask, set } => {
                inner.step(AND, *mask, (0, 0));
                inner.if_equal(*set, CallVerdict::Allowed);
                DENIED
            }
        };
        inner.end(last);
        let skipped = u8::try_from(inner.0.len()).expect("a list of arguments is short");
        self.step(IF_EQUAL, number(*call), (0, skipped));
        self.0.append(&mut inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    /// What the program answers about a call with these arguments.
    fn run(program: &[libc::sock_filter], architecture: u32, call: u32, arguments: &[u32]) -> u32 {
        let loaded = |offset: u32| match offset {
            offset::NUMBER => call,
            offset::ARCHITECTURE => architecture,
            other => {
                let index = usize::try_from((other - 16) / 8).unwrap();
                arguments.get(index).copied().unwrap_or(0)
            }
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match code {
                LOAD => value = loaded(k),
                AND => value &= k,
                IF_EQUAL => at += jump(value == k),
                IF_ABOVE => at += jump(value > k),
                RETURN => return k,
                other => panic!("instruction {other}"),
            }
        }
    }

    #[track_caller]
    fn check(call: libc::c_long, arguments: &[u32], expected: u32) {
        let answer = run(&SystemCallFilter::of_daemon().program(), ARCHITECTURE, number(call), arguments);
        assert_eq!(answer, expected, "call {call} {arguments:?}");
    }

    #[test]
    fn calls_are_allowed_by_their_numbers() {
        check(libc::SYS_read, &[], ALLOWED);
        check(libc::SYS_futex, &[], ALLOWED);
        for denied in [
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_mount,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_io_uring_setup,
            libc::SYS_kill,
            libc::SYS_pidfd_getfd,
            libc::SYS_setuid,
            libc::SYS_fchmod,
            libc::SYS_seccomp,
        ] {
            check(denied, &[], EPERM);
        }
        check(libc::SYS_clone3, &[], ENOSYS);
        check(i64::from(LAST_KNOWN), &[], EPERM);
        check(i64::from(LAST_KNOWN) + 1, &[], ENOSYS);
        // x32.
        check(0x4000_0000, &[], ENOSYS);
        let other =
            run(&SystemCallFilter::of_daemon().program(), ARCHITECTURE ^ 1, number(libc::SYS_read), &[]);
        assert_eq!(other, ENOSYS, "the numbers of another architecture");
    }

    #[test]
    fn calls_are_allowed_by_their_arguments() {
        let family = |family: libc::c_int| [family.cast_unsigned()];
        for allowed in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            check(libc::SYS_socket, &family(allowed), ALLOWED);
        }
        for denied in [libc::AF_PACKET, libc::AF_ALG, libc::AF_VSOCK, libc::AF_BLUETOOTH] {
            check(libc::SYS_socket, &family(denied), EPERM);
        }
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND).cast_unsigned();
        check(libc::SYS_clone, &[thread], ALLOWED);
        check(libc::SYS_clone, &[libc::SIGCHLD.cast_unsigned()], EPERM);
        check(libc::SYS_clone, &[thread | libc::CLONE_NEWUSER.cast_unsigned()], EPERM);
        check(libc::SYS_ioctl, &[0, 0x5421], ALLOWED);
        check(libc::SYS_ioctl, &[0, 0x5412], EPERM);
        let own = std::process::id();
        check(libc::SYS_tgkill, &[own, 1, 6], ALLOWED);
        check(libc::SYS_tgkill, &[own + 1, 1, 6], EPERM);
        check(libc::SYS_prctl, &[libc::PR_SET_NAME.cast_unsigned()], ALLOWED);
        check(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE.cast_unsigned()], EPERM);
    }

    #[test]
    fn no_call_is_listed_twice() {
        let SystemCallFilter { allowed, bounded, absent } = SystemCallFilter::of_daemon();
        let all = allowed.into_iter().chain(bounded.into_iter().map(|bounded| bounded.call)).chain(absent);
        let mut numbers: Vec<_> = all.collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
