//! Control groups: classifies the packets of all sockets of a group, with a program of four instructions.
//!
//! Source: bpf(2), `linux/bpf.h` (`union bpf_attr`), kernel `kernel/bpf/syscall.c`.

use std::fs::File;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;

use crate::failure::{KernelCall, KernelFailure};
use crate::tc::{CGROUP_PROGRAM, Handle, cgroup_program};

/// The packets that sockets of a control group send have a class, until this is dropped.
///
/// The kernel keeps the program of a process that is killed: [`release_cgroup`] removes it.
#[derive(Debug)]
pub struct CgroupClass {
    cgroup: File,
    program: OwnedFd,
}

/// `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

/// `BPF_PROG_TYPE_CGROUP_SKB`, `BPF_CGROUP_INET_EGRESS` and `BPF_F_ALLOW_MULTI`: other programs of the group stay.
const TYPE_CGROUP_SKB: u32 = 8;
const INET_EGRESS: u32 = 1;
const ALLOW_MULTI: u32 = 2;

/// The most programs of a group that are looked at. The kernel attaches at most 64.
const MOST_PROGRAMS: u32 = 64;

/// `BPF_OBJ_NAME_LEN`.
const NAME: usize = 16;

/// What PROG_LOAD reads of `union bpf_attr`.
#[repr(C)]
struct LoadAttributes {
    kind: u32,
    instructions: u32,
    program: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME],
    interface: u32,
    attach_type: u32,
}

/// What PROG_ATTACH and PROG_DETACH read.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// What PROG_QUERY reads and writes; `rest` are fields of newer kernels.
#[repr(C)]
struct QueryAttributes {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    rest: [u64; 4],
}

/// What PROG_GET_FD_BY_ID reads.
#[repr(C)]
struct IdAttributes {
    id: u32,
    next: u32,
    flags: u32,
}

/// What OBJ_GET_INFO_BY_FD reads and writes.
#[repr(C)]
struct InfoAttributes {
    program: u32,
    size: u32,
    info: u64,
}

/// The first fields of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 8],
    name: [u8; NAME],
}

/// Sends the packets of all sockets that were made in a control group to a class, by the group's directory in a cgroup2
/// file system. A class that a program of an inner group sets wins.
///
/// - **Errors**: `open`, or `bpf`, which needs CAP_BPF and CAP_NET_ADMIN.
pub fn classify_cgroup(cgroup: &Path, class: Handle) -> Result<CgroupClass, KernelFailure> {
    let cgroup = open(cgroup)?;
    let program = load(class)?;
    let attributes = AttachAttributes {
        target: number(&cgroup),
        program: number(&program),
        kind: INET_EGRESS,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, attributes).map_err(|cause| failed("bpf(BPF_PROG_ATTACH)", cause))?;
    Ok(CgroupClass { cgroup, program })
}

/// Removes the programs of gqos from a control group that ended processes have left: how many.
///
/// - **Errors**: `open` or `bpf`.
pub fn release_cgroup(cgroup: &Path) -> Result<usize, KernelFailure> {
    let cgroup = open(cgroup)?;
    let mut ids = [0_u32; MOST_PROGRAMS as usize];
    let query = QueryAttributes {
        target: number(&cgroup),
        kind: INET_EGRESS,
        query_flags: 0,
        attach_flags: 0,
        ids: (&raw mut ids).expose_provenance() as u64,
        count: MOST_PROGRAMS,
        padding: 0,
        rest: [0; 4],
    };
    let (_, QueryAttributes { count, .. }) =
        bpf(PROG_QUERY, query).map_err(|cause| failed("bpf(BPF_PROG_QUERY)", cause))?;
    let mut released = 0;
    for id in ids.into_iter().take(count as usize) {
        // A program that has gone meanwhile needs no release.
        let Ok(program) = by_id(id) else { continue };
        if has_own_name(&program) {
            detach(&cgroup, &program)?;
            released += 1;
        }
    }
    Ok(released)
}

impl Drop for CgroupClass {
    fn drop(&mut self) {
        // A group that was removed has no programs any more.
        let _ = detach(&self.cgroup, &self.program);
    }
}

fn open(cgroup: &Path) -> Result<File, KernelFailure> {
    File::open(cgroup).map_err(|error| KernelCall("open").failed(cgroup.display().to_string(), error))
}

fn load(class: Handle) -> Result<OwnedFd, KernelFailure> {
    let program = cgroup_program(class);
    let mut name = [0; NAME];
    name[..CGROUP_PROGRAM.len()].copy_from_slice(CGROUP_PROGRAM.as_bytes());
    let attributes = LoadAttributes {
        kind: TYPE_CGROUP_SKB,
        instructions: size(program.len()),
        program: program.as_ptr().expose_provenance() as u64,
        // None of its instructions calls a function for which the kernel asks for another licence.
        licence: c"MIT".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        attach_type: INET_EGRESS,
    };
    let loaded = bpf(PROG_LOAD, attributes).map_err(|cause| failed("bpf(BPF_PROG_LOAD)", cause));
    // SAFETY: the kernel has made the descriptor for this call, and nothing else has it.
    loaded.map(|(descriptor, _)| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn by_id(id: u32) -> io::Result<OwnedFd> {
    let (descriptor, _) = bpf(PROG_GET_FD_BY_ID, IdAttributes { id, next: 0, flags: 0 })?;
    // SAFETY: the kernel has made the descriptor for this call, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn has_own_name(program: &OwnedFd) -> bool {
    let mut info = ProgramInfo::default();
    let attributes = InfoAttributes {
        program: number(program),
        size: size(size_of_val(&info)),
        info: (&raw mut info).expose_provenance() as u64,
    };
    let name = CGROUP_PROGRAM.as_bytes();
    bpf(OBJ_GET_INFO_BY_FD, attributes).is_ok() && info.name.starts_with(name) && info.name[name.len()] == 0
}

fn detach(cgroup: &File, program: &OwnedFd) -> Result<(), KernelFailure> {
    let attributes =
        AttachAttributes { target: number(cgroup), program: number(program), kind: INET_EGRESS, flags: 0 };
    bpf(PROG_DETACH, attributes).map(drop).map_err(|cause| failed("bpf(BPF_PROG_DETACH)", cause))
}

fn failed(call: &'static str, cause: io::Error) -> KernelFailure {
    KernelCall(call).failed("control group", cause)
}

fn size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A descriptor as `union bpf_attr` has it.
fn number(descriptor: &impl AsRawFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2): its result, and the attributes as the kernel has written them.
fn bpf<T>(command: libc::c_int, mut attributes: T) -> io::Result<(libc::c_int, T)> {
    let size = size_of_val(&attributes);
    // SAFETY: the attributes are those of the command, and the addresses in them are of values that live as long as the
    // caller's, with the sizes that stand beside them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok((result, attributes)),
        _ => Err(io::Error::last_os_error()),
    }
}
