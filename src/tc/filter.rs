//! Classifiers, byte for byte: u32, flower, matchall and cls_bpf, and the action that sends packets to another device.
//!
//! Source: `linux/pkt_cls.h`, `linux/tc_act/tc_mirred.h`, kernel `net/sched/cls_*.c`, `net/sched/act_mirred.c`.

use netlink_packet_core::{DecodeError, DefaultNla, NlasIterator};

use super::attributes::{attribute, emit, nest, read_u32};
use super::flower::FlowerKey;
use crate::kernel::Handle;

/// A classifier with its options.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Compares words of the packet.
    U32 {
        /// What happens to packets that match.
        target: Target,
        /// The words, all of which have to match; at most 255.
        keys: Vec<U32Key>,
    },
    /// Matches every packet.
    Matchall {
        /// What happens to them.
        target: Target,
    },
    /// Compares fields of headers.
    Flower {
        /// What happens to packets that match.
        target: Target,
        /// The fields, all of which have to match.
        key: FlowerKey,
    },
    /// A BPF program, whose return value is the class: 0 does not match, `u32::MAX` is the target's class.
    Bpf {
        /// What happens to packets that match.
        target: Target,
        /// Returns the class of each packet.
        program: Program,
    },
}

/// A program of cls_bpf.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Program {
    /// Classic BPF, as `struct sock_filter`; at most 4096 instructions.
    Classic(Vec<[u8; 8]>),
    /// A loaded program, by its descriptor. The kernel reports the name and no descriptor.
    Loaded {
        /// The descriptor; `None` where a dump shows the filter.
        fd: Option<u32>,
        /// The name that dumps show.
        name: String,
    },
}

/// What happens to packets that match.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// The class in the tree; `None` where the filter states none.
    pub class: Option<Handle>,
    /// The device that they go to.
    pub redirect: Option<Redirect>,
}

/// Packets leave by another device: act_mirred's egress redirect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// The number of the device.
    pub index: u32,
}

/// A word of a packet that a u32 filter compares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct U32Key {
    /// Bytes from the network header to the word.
    pub offset: i32,
    /// The bits that are compared.
    pub mask: u32,
    /// The bits of the word after the mask.
    pub value: u32,
}

/// The instruction `ret -1` of classic BPF: every packet has the target's class.
pub const BPF_MATCH_ALL: [u8; 8] = [0x06, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

/// The attributes that each kind numbers differently.
struct Kinds {
    class: u16,
    actions: u16,
}

const U32: Kinds = Kinds { class: 1, actions: 7 };
const MATCHALL: Kinds = Kinds { class: 1, actions: 2 };
const FLOWER: Kinds = Kinds { class: 1, actions: 3 };
const BPF: Kinds = Kinds { class: 3, actions: 1 };

const TCA_U32_SEL: u16 = 5;
/// `TC_U32_TERMINAL`: no further hash table is searched.
const U32_TERMINAL: u8 = 1;
/// The size of `struct tc_u32_sel` without keys, and of a key.
const U32_SELECTOR: usize = 16;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `TC_ACT_STOLEN`: the packet goes no further on its own device.
const ACT_STOLEN: u32 = 4;
/// `TCA_EGRESS_REDIR`.
const EGRESS_REDIRECT: u32 = 1;

impl Filter {
    /// TCA_KIND: `u32`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::U32 { .. } => "u32",
            Self::Matchall { .. } => "matchall",
            Self::Flower { .. } => "flower",
            Self::Bpf { .. } => "bpf",
        }
    }

    /// What happens to packets that match.
    pub const fn target(&self) -> &Target {
        match self {
            Self::U32 { target, .. }
            | Self::Matchall { target }
            | Self::Flower { target, .. }
            | Self::Bpf { target, .. } => target,
        }
    }

    /// TCA_OPTIONS.
    ///
    /// - **Errors**: more keys or instructions than the kernel's structures count.
    pub fn options(&self) -> Result<Vec<u8>, TooMany> {
        let (kinds, first) = match self {
            Self::U32 { keys, .. } => (U32, vec![DefaultNla::new(TCA_U32_SEL, selector(keys)?)]),
            Self::Matchall { .. } => (MATCHALL, Vec::new()),
            Self::Flower { key, .. } => (FLOWER, key.attributes()),
            Self::Bpf { program, .. } => (BPF, program.attributes()?),
        };
        let Target { class, redirect } = self.target();
        let class = class.map(|class| DefaultNla::new(kinds.class, class.to_u32().to_ne_bytes().to_vec()));
        let actions = redirect.map(|redirect| DefaultNla::new(kinds.actions, redirect.actions()));
        Ok(emit(&first.into_iter().chain(class).chain(actions).collect::<Vec<_>>()))
    }

    /// Reads TCA_OPTIONS of a dumped filter; `None` for another kind, and for a hash table of u32, which matches nothing.
    ///
    /// - **Errors**: a structure that is cut short.
    pub fn parse(kind: &str, options: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            "u32" => match attribute(options, TCA_U32_SEL)? {
                Some(selector) => {
                    Self::U32 { target: target(options, U32)?, keys: parse_selector(&selector)? }
                }
                None => return Ok(None),
            },
            "matchall" => Self::Matchall { target: target(options, MATCHALL)? },
            "flower" => Self::Flower { target: target(options, FLOWER)?, key: FlowerKey::parse(options)? },
            "bpf" => Self::Bpf { target: target(options, BPF)?, program: Program::parse(options)? },
            _ => return Ok(None),
        }))
    }
}

/// More parts than the kernel's structure counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a filter with {count} {parts}; the kernel takes at most {most}")]
pub struct TooMany {
    /// What they are.
    pub parts: &'static str,
    /// How many there are.
    pub count: usize,
    /// How many there may be.
    pub most: usize,
}

impl Program {
    fn attributes(&self) -> Result<Vec<DefaultNla>, TooMany> {
        /// `BPF_MAXINSNS`.
        const MOST: usize = 4096;
        Ok(match self {
            Self::Classic(program) => {
                let count = program.len();
                let length = u16::try_from(count).ok().filter(|_| count <= MOST);
                let length = length.ok_or(TooMany { parts: "instructions", count, most: MOST })?;
                let length = DefaultNla::new(TCA_BPF_OPS_LEN, length.to_ne_bytes().to_vec());
                vec![length, DefaultNla::new(TCA_BPF_OPS, program.concat())]
            }
            Self::Loaded { fd, name } => {
                let fd = fd.map(|fd| DefaultNla::new(TCA_BPF_FD, fd.to_ne_bytes().to_vec()));
                let name = DefaultNla::new(TCA_BPF_NAME, [name.as_bytes(), &[0]].concat());
                fd.into_iter().chain([name]).collect()
            }
        })
    }

    fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        if let Some(instructions) = attribute(options, TCA_BPF_OPS)? {
            return Ok(Self::Classic(instructions.as_chunks().0.to_vec()));
        }
        let fd = attribute(options, TCA_BPF_FD)?.map(|fd| read_u32(&fd, 0)).transpose()?;
        let name = attribute(options, TCA_BPF_NAME)?.unwrap_or_default();
        Ok(Self::Loaded { fd, name: c_string(&name) })
    }
}

impl Redirect {
    /// The kind in TCA_ACT_KIND.
    pub const KIND: &'static str = "mirred";

    /// The list of one action.
    fn actions(self) -> Vec<u8> {
        // tc_gen: index, capabilities, action, two counters; then tc_mirred's own action and device.
        let words = [0, 0, ACT_STOLEN, 0, 0, EGRESS_REDIRECT, self.index];
        let parms = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        let action = [
            DefaultNla::new(TCA_ACT_KIND, [Self::KIND.as_bytes(), &[0]].concat()),
            nest(TCA_ACT_OPTIONS, &[DefaultNla::new(TCA_MIRRED_PARMS, parms)]),
        ];
        // The first action is number 1.
        emit(&[nest(1, &action)])
    }

    /// The redirect in a list of actions, if there is one.
    fn parse(actions: &[u8]) -> Result<Option<Self>, DecodeError> {
        for action in NlasIterator::new(actions) {
            let action = action?;
            let kind = attribute(action.value(), TCA_ACT_KIND)?.unwrap_or_default();
            let options = attribute(action.value(), TCA_ACT_OPTIONS)?;
            let (Self::KIND, Some(options)) = (c_string(&kind).as_str(), options) else { continue };
            let Some(parms) = attribute(&options, TCA_MIRRED_PARMS)? else { continue };
            if read_u32(&parms, 20)? == EGRESS_REDIRECT {
                return Ok(Some(Self { index: read_u32(&parms, 24)? }));
            }
        }
        Ok(None)
    }
}

fn target(options: &[u8], kinds: Kinds) -> Result<Target, DecodeError> {
    let class = attribute(options, kinds.class)?.map(|class| read_u32(&class, 0)).transpose()?;
    let redirect = attribute(options, kinds.actions)?.map(|actions| Redirect::parse(&actions)).transpose()?;
    Ok(Target { class: class.map(Handle::from_u32), redirect: redirect.flatten() })
}

/// `struct tc_u32_sel` with its keys. Numbers of packets are in the order of the network.
pub(super) fn selector(keys: &[U32Key]) -> Result<Vec<u8>, TooMany> {
    let too_many = TooMany { parts: "keys", count: keys.len(), most: 255 };
    let count = u8::try_from(keys.len()).map_err(|_| too_many)?;
    let mut bytes = vec![U32_TERMINAL, 0, count, 0];
    // The offsets of further headers, which no key uses.
    bytes.extend([0; U32_SELECTOR - 4]);
    for U32Key { offset, mask, value } in keys {
        bytes.extend(mask.to_be_bytes());
        bytes.extend((value & mask).to_be_bytes());
        bytes.extend(offset.to_ne_bytes());
        bytes.extend([0; 4]);
    }
    Ok(bytes)
}

fn parse_selector(selector: &[u8]) -> Result<Vec<U32Key>, DecodeError> {
    let count =
        usize::from(*selector.get(2).ok_or_else(|| DecodeError::from("a u32 selector is cut short"))?);
    let keys = (0..count).map(|number| {
        let word = |index: usize| read_u32(selector, U32_SELECTOR + number * 16 + index * 4);
        let [mask, value] = [word(0)?, word(1)?].map(u32::from_be);
        Ok(U32Key { offset: word(2)?.cast_signed(), mask, value })
    });
    keys.collect()
}

fn c_string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: Target =
        Target { class: Some(Handle::qdisc(1).class(0x10)), redirect: Some(Redirect { index: 7 }) };

    #[track_caller]
    fn check(filter: Filter, golden: &[u8]) {
        assert_eq!(filter.options(), Ok(golden.to_vec()), "{filter:?}");
        assert_eq!(Filter::parse(filter.kind(), golden).ok().flatten().as_ref(), Some(&filter));
    }

    /// `tc filter add dev va parent 1: u32 match ip dport 443 0xffff classid 1:10`, iproute2 6.1, in gqos's order.
    #[test]
    #[cfg(target_endian = "little")]
    fn golden_u32() {
        let target = Target { redirect: None, ..TARGET };
        let keys = vec![U32Key { offset: 20, mask: 0x0000_ffff, value: 443 }];
        #[rustfmt::skip]
        check(Filter::U32 { target, keys }, &[
            0x24, 0x00, 0x05, 0x00,  // length 36, TCA_U32_SEL
            0x01, 0x00, 0x01, 0x00,  // flags: terminal, offshift, nkeys, padding
            0x00, 0x00, 0x00, 0x00,  // offmask, off
            0x00, 0x00, 0x00, 0x00,  // offoff, hoff
            0x00, 0x00, 0x00, 0x00,  // hmask
            0x00, 0x00, 0xff, 0xff,  // key: mask
            0x00, 0x00, 0x01, 0xbb,  // key: value
            0x14, 0x00, 0x00, 0x00,  // key: offset
            0x00, 0x00, 0x00, 0x00,  // key: offmask
            0x08, 0x00, 0x01, 0x00, 0x10, 0x00, 0x01, 0x00,  // TCA_U32_CLASSID
        ]);
    }

    /// `tc filter add dev va egress matchall action mirred egress redirect dev vb`, iproute2 6.1.
    #[test]
    #[cfg(target_endian = "little")]
    fn golden_redirect() {
        let target = Target { class: None, ..TARGET };
        #[rustfmt::skip]
        check(Filter::Matchall { target }, &[
            0x38, 0x00, 0x02, 0x00,  // length 56, TCA_MATCHALL_ACT
            0x34, 0x00, 0x01, 0x00,  // length 52, action 1
            0x0b, 0x00, 0x01, 0x00, b'm', b'i', b'r', b'r', b'e', b'd', 0x00, 0x00,  // TCA_ACT_KIND
            0x24, 0x00, 0x02, 0x00,  // length 36, TCA_ACT_OPTIONS
            0x20, 0x00, 0x02, 0x00,  // length 32, TCA_MIRRED_PARMS
            0x00, 0x00, 0x00, 0x00,  // index
            0x00, 0x00, 0x00, 0x00,  // capab
            0x04, 0x00, 0x00, 0x00,  // action: TC_ACT_STOLEN
            0x00, 0x00, 0x00, 0x00,  // refcnt
            0x00, 0x00, 0x00, 0x00,  // bindcnt
            0x01, 0x00, 0x00, 0x00,  // eaction: TCA_EGRESS_REDIR
            0x07, 0x00, 0x00, 0x00,  // ifindex
        ]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn golden_bpf() {
        let target = Target { redirect: None, ..TARGET };
        let program = Program::Classic(vec![BPF_MATCH_ALL]);
        #[rustfmt::skip]
        check(Filter::Bpf { target, program }, &[
            0x06, 0x00, 0x04, 0x00, 0x01, 0x00, 0x00, 0x00,  // TCA_BPF_OPS_LEN
            0x0c, 0x00, 0x05, 0x00, 0x06, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff,  // TCA_BPF_OPS
            0x08, 0x00, 0x03, 0x00, 0x10, 0x00, 0x01, 0x00,  // TCA_BPF_CLASSID
        ]);
        let program = Program::Loaded { fd: Some(9), name: "gqos".into() };
        #[rustfmt::skip]
        check(Filter::Bpf { target, program }, &[
            0x08, 0x00, 0x06, 0x00, 0x09, 0x00, 0x00, 0x00,  // TCA_BPF_FD
            0x09, 0x00, 0x07, 0x00, b'g', b'q', b'o', b's', 0x00, 0x00, 0x00, 0x00,  // TCA_BPF_NAME
            0x08, 0x00, 0x03, 0x00, 0x10, 0x00, 0x01, 0x00,  // TCA_BPF_CLASSID
        ]);
    }

    #[test]
    fn what_the_kernel_does_not_count_is_refused_and_what_is_cut_short_is_an_error() {
        let target = Target::default();
        let key = U32Key { offset: 0, mask: 0, value: 0 };
        let u32 = |count| Filter::U32 { target, keys: vec![key; count] }.options();
        assert!(u32(255).is_ok());
        let words = "a filter with 256 keys; the kernel takes at most 255";
        assert_eq!(u32(256).map_err(|error| error.to_string()), Err(words.to_owned()));
        let bpf =
            |count| Filter::Bpf { target, program: Program::Classic(vec![BPF_MATCH_ALL; count]) }.options();
        assert!(bpf(4096).is_ok() && bpf(4097).is_err());
        let options = u32(1).unwrap_or_default();
        for end in 1..options.len() {
            assert!(Filter::parse("u32", &options[..end]).is_err(), "{end} bytes");
        }
        assert!(matches!(Filter::parse("u32", &[]), Ok(None)), "a hash table");
        assert!(matches!(Filter::parse("fw", &options), Ok(None)), "another kind");
    }

    fn any_target() -> impl Strategy<Value = Target> {
        (any::<Option<u32>>(), any::<Option<u32>>()).prop_map(|(class, index)| Target {
            class: class.map(Handle::from_u32),
            redirect: index.map(|index| Redirect { index }),
        })
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let key = (any::<i32>(), any::<u32>(), any::<u32>()).prop_map(|(offset, mask, value)| U32Key {
            offset,
            mask,
            value: value & mask,
        });
        let classic = proptest::collection::vec(any::<[u8; 8]>(), 1..9).prop_map(Program::Classic);
        let loaded = (any::<Option<u32>>(), "[a-z]{0,9}").prop_map(|(fd, name)| Program::Loaded { fd, name });
        prop_oneof![
            (any_target(), proptest::collection::vec(key, 0..9))
                .prop_map(|(target, keys)| Filter::U32 { target, keys }),
            any_target().prop_map(|target| Filter::Matchall { target }),
            (any_target(), FlowerKey::any()).prop_map(|(target, key)| Filter::Flower { target, key }),
            (any_target(), prop_oneof![classic, loaded])
                .prop_map(|(target, program)| Filter::Bpf { target, program }),
        ]
    }

    proptest! {
        #[test]
        fn emitted_filters_parse(filter in any_filter()) {
            let options = filter.options().expect("few parts");
            prop_assert_eq!(Filter::parse(filter.kind(), &options).ok().flatten(), Some(filter));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            for kind in ["u32", "matchall", "flower", "bpf"] {
                let _ = Filter::parse(kind, &bytes);
            }
        }
    }
}
