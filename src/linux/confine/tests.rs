//! Confinement is of a whole process and for good: each test runs again in a process of its own, of which it
//! confines the thread that the harness has made for it.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;

use super::process::confine_thread;
use super::*;

/// Set in the process that a test confines, to a directory of its own.
const CONFINED: &str = "GQOS_TEST_CONFINED";

/// Runs the test of this name in a process of its own. `Some` is that process's directory.
fn alone(name: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(CONFINED) {
        return Some(directory.into());
    }
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("allowed")).unwrap();
    fs::write(directory.path().join("other"), "secret").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("linux::confine::tests::{name}"), "--nocapture"])
        .env(CONFINED, directory.path())
        .output()
        .unwrap();
    let printed = [child.stdout, child.stderr].concat();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&printed));
    None
}

fn confined(directory: &Path) -> (Confinement, DescriptorTaker) {
    let read = vec!["/proc".into(), "/sys".into()];
    let write = vec![directory.join("allowed"), directory.join("missing")];
    let (confinement, taker) = confine_thread(&AllowedPaths { read, write, reread: Vec::new() });
    (confinement, taker.unwrap())
}

fn errno<T>(result: std::io::Result<T>) -> Option<Errno> {
    Some(Errno::from_raw(result.err()?.raw_os_error()?))
}

#[test]
fn what_is_given_up_is_refused_and_the_rest_works() {
    let Some(directory) = alone("what_is_given_up_is_refused_and_the_rest_works") else { return };
    let (confinement, _taker) = confined(&directory);
    assert_eq!(confinement.missing, Vec::new(), "{confinement}");
    assert!(confinement.no_new_privileges && confinement.system_calls.is_some(), "{confinement}");
    // In a thread that has started afterwards.
    let check = move || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        assert_eq!((line("NoNewPrivs"), line("Seccomp")), ("1".to_owned(), "2".to_owned()));
        let set = |name: &str| u64::from_str_radix(&line(name), 16).unwrap();
        let net_admin = 1_u64 << 12;
        assert_eq!(set("CapEff") & !net_admin, 0, "{status}");
        assert_eq!((set("CapPrm"), set("CapInh"), set("CapAmb")), (set("CapEff"), 0, 0), "{status}");
        // Processes, namespaces, families.
        assert_eq!(errno(Command::new("/bin/true").spawn()), Some(Errno::EPERM));
        assert_eq!(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
        // SAFETY: the call takes three numbers.
        let packets = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        assert_eq!(Errno::result(packets), Err(Errno::EPERM));
        assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
        // Files.
        assert_eq!(errno(fs::read(directory.join("other"))), Some(Errno::EACCES));
        assert_eq!(errno(fs::read("/etc/passwd")), Some(Errno::EACCES));
        assert_eq!(errno(fs::write("/proc/sys/kernel/domainname", "x")), Some(Errno::EACCES));
        let [one, two] = ["one", "two"].map(|name| directory.join("allowed").join(name));
        fs::write(&one, "1").unwrap();
        fs::rename(&one, &two).unwrap();
        assert_eq!(errno(fs::rename(&two, directory.join("two"))), Some(Errno::EACCES));
        fs::remove_file(&two).unwrap();
        assert_eq!(errno(fs::create_dir(directory.join("allowed/deep"))), Some(Errno::EPERM));
        // TCP.
        assert_eq!(errno(std::net::TcpListener::bind("127.0.0.1:0")), Some(Errno::EACCES));
        assert_eq!(errno(std::net::TcpStream::connect("127.0.0.1:9")), Some(Errno::EACCES));
    };
    std::thread::spawn(check).join().unwrap();
}

#[test]
#[expect(clippy::zombie_processes, reason = "this process ends at once, and the other one with it")]
fn a_descriptor_of_another_process_is_copied_by_the_taker_alone() {
    let Some(directory) = alone("a_descriptor_of_another_process_is_copied_by_the_taker_alone") else {
        return;
    };
    let file = fs::File::open(directory.join("other")).unwrap();
    let inode = file.metadata().unwrap().ino();
    // It ends with this process, whose end of the pipe that closes.
    let other = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    let (_, taker) = confined(&directory);
    let id = libc::c_long::from(other.id().cast_signed());
    // SAFETY: the call takes two numbers.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) }).unwrap();
    // SAFETY: the kernel has made this descriptor for the caller.
    let process: std::os::fd::OwnedFd =
        unsafe { std::os::fd::FromRawFd::from_raw_fd(i32::try_from(opened).unwrap()) };
    assert_eq!(copy_descriptor(process.as_raw_fd(), 1).err(), Some(Errno::EPERM));
    let copied = fs::File::from(taker.copy(&process, 1).unwrap());
    assert_eq!(copied.metadata().unwrap().ino(), inode);
    assert_eq!(taker.copy(&process, 99).err(), Some(Errno::EBADF));
}

#[test]
fn a_process_with_threads_is_left_as_it_is() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || ended.recv().is_err());
    let (confinement, taker) = confine(&AllowedPaths::default());
    assert!(taker.is_none() && confinement.system_calls.is_none() && !confinement.no_new_privileges);
    assert!(confinement.to_string().contains("before the second one starts"), "{confinement}");
    drop(end);
    assert!(thread.join().unwrap());
}
