//! The program that classifies the packets of a control group.
//!
//! It runs for each packet that a socket of the group sends and sets its priority, which selects the class: sockets need
//! no option, and their program knows nothing of it. A socket belongs to the group in which it was made.
//!
//! Source: `linux/bpf.h` (`struct __sk_buff`), kernel `Documentation/bpf/standardization/instruction-set.rst`.

use crate::kernel::Handle;

/// The instructions of a program of the type CGROUP_SKB for `BPF_CGROUP_INET_EGRESS`, as `struct bpf_insn`.
pub fn cgroup_program(class: Handle) -> Vec<[u8; 8]> {
    let priority = class.to_u32().cast_signed();
    vec![
        instruction(MOVE, Registers { to: 2, from: 0 }, 0, priority), // r2 = class
        instruction(STORE_WORD, Registers { to: 1, from: 2 }, PRIORITY, 0), // skb->priority = r2
        instruction(MOVE, Registers { to: 0, from: 0 }, 0, 1),        // return 1: the packet leaves
        instruction(EXIT, Registers { to: 0, from: 0 }, 0, 0),
    ]
}

/// The name that the kernel shows for the program, at most 15 bytes.
pub const CGROUP_PROGRAM: &str = "gqos_class";

/// `BPF_ALU64 | BPF_MOV | BPF_K`, `BPF_STX | BPF_MEM | BPF_W` and `BPF_JMP | BPF_EXIT`.
const MOVE: u8 = 0xb7;
const STORE_WORD: u8 = 0x63;
const EXIT: u8 = 0x95;

/// The offset of `priority` in `struct __sk_buff`.
const PRIORITY: i16 = 32;

#[derive(Clone, Copy)]
struct Registers {
    to: u8,
    from: u8,
}

fn instruction(code: u8, Registers { to, from }: Registers, offset: i16, number: i32) -> [u8; 8] {
    // Two bit fields of four bits.
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let ([o0, o1], [n0, n1, n2, n3]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    [code, registers, o0, o1, n0, n1, n2, n3]
}

#[cfg(test)]
mod tests {
    use super::super::layout::flow_class;
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        #[rustfmt::skip]
        let golden = [
            [0xb7, 0x02, 0x00, 0x00, 0x00, 0x01, 0x71, 0x67],  // r2 = 0x67710100
            [0x63, 0x21, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00],  // *(u32 *)(r1 + 32) = r2
            [0xb7, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00],  // r0 = 1
            [0x95, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],  // exit
        ];
        assert_eq!(cgroup_program(flow_class(0)), golden);
        assert!(CGROUP_PROGRAM.len() <= 15, "the kernel takes 16 bytes with the final zero");
    }
}
