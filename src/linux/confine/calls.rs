//! The lists of system calls.

use nix::libc;

/// A system call that is allowed with some arguments alone.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub(super) call: libc::c_long,
    /// The number of the argument.
    pub(super) argument: u8,
    pub(super) test: ArgumentTest,
}

/// What is tested of the low half of an argument.
#[derive(Clone, Debug)]
pub(super) enum ArgumentTest {
    /// It is one of these.
    OneOf(Vec<u32>),
    /// It is none of these.
    NoneOf(Vec<u32>),
    /// Of the bits of the mask it has these.
    Bits { mask: u32, set: u32 },
}

/// Allocations, locks, clocks and the end of a thread.
const THREAD: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// The other calls of the daemon: files, sockets, events, and what the libraries ask of the process.
const DAEMON: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex_waitv,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpeername,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_listen,
    libc::SYS_lseek,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sched_getaffinity,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_tid_address,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Those that x86_64 has in an older form as well, which its C libraries use.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// TIOCSTI and TIOCLINUX, which write to a terminal as its user. Source: `asm-generic/ioctls.h`.
const TERMINAL: [u32; 2] = [0x5412, 0x541c];

/// PR_SET_VMA, by which the C library names memory. Source: `linux/prctl.h`.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// CLONE_NEWTIME, which the other flags do not have beside them. Source: `linux/sched.h`.
const CLONE_NEWTIME: libc::c_int = 0x80;

pub(super) fn of_daemon() -> Vec<libc::c_long> {
    [THREAD, DAEMON, OLDER].concat()
}

/// What the thread does that copies descriptors: no file is opened, nothing is sent.
pub(super) fn of_taker() -> Vec<libc::c_long> {
    [THREAD, &[libc::SYS_pidfd_getfd]].concat()
}

/// Those that depend on their arguments.
pub(super) fn bounded() -> Vec<Bounded> {
    let new = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        CLONE_NEWTIME,
    ];
    let thread = libc::CLONE_THREAD.cast_unsigned();
    let mask = new.iter().fold(thread, |mask, flag| mask | flag.cast_unsigned());
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let options = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_DUMPABLE];
    let options = options.map(libc::c_int::cast_unsigned).into_iter().chain([PR_SET_VMA]).collect();
    let own = vec![std::process::id()];
    [
        // A thread, and no process.
        (libc::SYS_clone, 0, ArgumentTest::Bits { mask, set: thread }),
        (libc::SYS_socket, 0, ArgumentTest::OneOf(families.map(libc::c_int::cast_unsigned).to_vec())),
        (libc::SYS_ioctl, 1, ArgumentTest::NoneOf(TERMINAL.to_vec())),
        (libc::SYS_prctl, 0, ArgumentTest::OneOf(options)),
        // An abort.
        (libc::SYS_tgkill, 0, ArgumentTest::OneOf(own)),
        // Limits are read.
        (libc::SYS_prlimit64, 2, ArgumentTest::OneOf(vec![0])),
    ]
    .map(|(call, argument, test)| Bounded { call, argument, test })
    .into()
}
