//! RFC 2210's objects on the wire: golden bytes, truncation, and values that are not valid.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use flowspec::rsvp::single::{Rounding, Single};
use flowspec::rsvp::*;
use flowspec::{Bytes, Direction, ErrorTerms, Flowspec, Micros, Peak, Rate, TSpec, Wsa};

#[rustfmt::skip]
const SENDER_TSPEC: &[u8] = &[
    0x00, 0x24, 0x0c, 0x02,  //  0 RSVP: length 36, class 12, type 2
    0x00, 0x00, 0x00, 0x07,  //  4 version 0, 7 words
    0x01, 0x00, 0x00, 0x06,  //  8 service 1 (general), 6 words
    0x7f, 0x00, 0x00, 0x05,  // 12 parameter 127 (Token_Bucket_TSpec), 5 words
    0x49, 0x37, 0x1b, 0x00,  // 16 r: 750 000.0
    0x47, 0x80, 0x00, 0x00,  // 20 b: 65 536.0
    0x7f, 0x80, 0x00, 0x00,  // 24 p: infinite
    0x00, 0x00, 0x00, 0x40,  // 28 m: 64
    0x00, 0x00, 0x05, 0xdc,  // 32 M: 1500
];

#[rustfmt::skip]
const FLOWSPEC: &[u8] = &[
    0x00, 0x30, 0x09, 0x02,  //  0 RSVP: length 48, class 9, type 2
    0x00, 0x00, 0x00, 0x0a,  //  4 version 0, 10 words
    0x02, 0x00, 0x00, 0x09,  //  8 service 2 (guaranteed), 9 words
    0x7f, 0x00, 0x00, 0x05,  // 12 parameter 127 (Token_Bucket_TSpec), 5 words
    0x49, 0x37, 0x1b, 0x00,  // 16 r: 750 000.0
    0x47, 0x80, 0x00, 0x00,  // 20 b: 65 536.0
    0x49, 0xb7, 0x1b, 0x00,  // 24 p: 1 500 000.0
    0x00, 0x00, 0x00, 0x40,  // 28 m: 64
    0x00, 0x00, 0x05, 0xdc,  // 32 M: 1500
    0x82, 0x00, 0x00, 0x02,  // 36 parameter 130 (Guaranteed_RSpec), 2 words
    0x49, 0x74, 0x24, 0x00,  // 40 R: 1 000 000.0
    0x00, 0x00, 0x03, 0xe8,  // 44 S: 1000 us
];

#[rustfmt::skip]
const ADSPEC: &[u8] = &[
    0x00, 0x58, 0x0d, 0x02,  //  0 RSVP: length 88, class 13, type 2
    0x00, 0x00, 0x00, 0x14,  //  4 version 0, 20 words
    0x01, 0x00, 0x00, 0x08,  //  8 service 1 (general), 8 words
    0x04, 0x00, 0x00, 0x01,  // 12 parameter 4 (NUMBER_OF_IS_HOPS)
    0x00, 0x00, 0x00, 0x03,  // 16 3
    0x06, 0x00, 0x00, 0x01,  // 20 parameter 6 (AVAILABLE_PATH_BANDWIDTH)
    0x4c, 0xee, 0x6b, 0x28,  // 24 125 000 000.0
    0x08, 0x00, 0x00, 0x01,  // 28 parameter 8 (MINIMUM_PATH_LATENCY)
    0xff, 0xff, 0xff, 0xff,  // 32 indeterminate
    0x0a, 0x00, 0x00, 0x01,  // 36 parameter 10 (PATH_MTU)
    0x00, 0x00, 0x05, 0xdc,  // 40 1500
    0x02, 0x00, 0x00, 0x08,  // 44 service 2 (guaranteed), 8 words
    0x85, 0x00, 0x00, 0x01,  // 48 parameter 133 (Ctot)
    0x00, 0x00, 0x11, 0x94,  // 52 4500
    0x86, 0x00, 0x00, 0x01,  // 56 parameter 134 (Dtot)
    0x00, 0x00, 0x01, 0x68,  // 60 360 us
    0x87, 0x00, 0x00, 0x01,  // 64 parameter 135 (Csum)
    0x00, 0x00, 0x05, 0xdc,  // 68 1500
    0x88, 0x00, 0x00, 0x01,  // 72 parameter 136 (Dsum)
    0x00, 0x00, 0x00, 0x78,  // 76 120 us
    0x05, 0x80, 0x00, 0x00,  // 80 service 5 (controlled load), an element does not offer it
    0x2a, 0x00, 0x00, 0x00,  // 84 service 42: ignored
];

fn tspec(peak: Peak) -> TSpec {
    let mut spec = Flowspec::guaranteed(Rate::new(750_000), Bytes::new(65_536));
    spec.peak_bandwidth = Some(peak);
    TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap()
}

fn adspec() -> PathAdspec {
    let terms = |c, d| ErrorTerms { c: Bytes::new(c), d: Micros::new(d) };
    PathAdspec {
        general: PathParams {
            is_broken: false,
            hops: 3,
            bandwidth: Rate::new(125_000_000),
            latency: None,
            mtu: Bytes::new(1500),
        },
        guaranteed: Some(GuaranteedPath {
            path: ServicePath::default(),
            total: terms(4500, 360),
            since_reshaping: terms(1500, 120),
        }),
        controlled_load: Some(ServicePath { is_broken: true, ..ServicePath::default() }),
    }
}

#[test]
fn golden_bytes_are_read_and_written() {
    let write = |object: RsvpObject| {
        let mut bytes = Vec::new();
        object.write(&mut bytes).unwrap();
        bytes
    };
    let sender = RsvpObject::SenderTspec(tspec(Peak::Infinite));
    assert_eq!(RsvpObject::read(SENDER_TSPEC), Ok(sender));
    assert_eq!(write(sender), SENDER_TSPEC);
    let rspec = RSpec { rate: Rate::new(1_000_000), slack: Micros::new(1000) };
    let guaranteed = RsvpObject::Guaranteed(tspec(Peak::Finite(Rate::new(1_500_000))), rspec);
    assert_eq!(RsvpObject::read(FLOWSPEC), Ok(guaranteed));
    assert_eq!(write(guaranteed), FLOWSPEC);
    let path = RsvpObject::Adspec(adspec());
    assert_eq!(RsvpObject::read(ADSPEC), Ok(path));
    let mut known = ADSPEC[..84].to_vec();
    (known[1], known[7]) = (0x54, 0x13);
    assert_eq!(write(path), known, "an unknown service is not written");
    let load = RsvpObject::ControlledLoad(tspec(Peak::Infinite));
    let bytes = write(load);
    assert_eq!((bytes[2], &bytes[8..12]), (9, &[5, 0, 0, 6][..]));
    assert_eq!(RsvpObject::read(&bytes), Ok(load));
}

/// The field that is not valid, and the status.
type Expected<'a> = (&'a str, Wsa);

/// Reads golden bytes in which one word is replaced.
#[track_caller]
fn check(name: &str, golden: &[u8], (at, word): (usize, u32), expected: Expected<'_>) {
    let mut bytes = golden.to_vec();
    bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    let error = RsvpObject::read(&bytes).expect_err(name);
    assert_eq!((error.field.as_str(), error.wsa()), expected, "{name}: {error}");
    assert!((at..at + 4).contains(&error.offset), "{name}: {error}");
}

#[test]
fn values_that_are_not_valid_are_refused() {
    let case = |name, at, word, field| check(name, FLOWSPEC, (at, word), (field, Wsa::QosEflowspec));
    case("r: NaN", 16, 0x7fc0_0000, "token_rate");
    case("r: infinite", 16, 0x7f80_0000, "token_rate");
    case("r: negative", 16, 0xc937_1b00, "token_rate");
    case("r: negative zero", 16, 0x8000_0000, "token_rate");
    case("r: zero", 16, 0, "token_rate");
    case("r: a half", 16, 0x3f00_0000, "token_rate");
    case(
        "r: above 40 TB/s",
        16,
        Single::from_whole(40_000_010_000_000, Rounding::Up).to_bits(),
        "token_rate",
    );
    case(
        "b: above 250 GB",
        20,
        Single::from_whole(250_000_100_000, Rounding::Up).to_bits(),
        "token_bucket_size",
    );
    case("b: infinite", 20, 0x7f80_0000, "token_bucket_size");
    case("b < M", 20, Single::from_whole(1499, Rounding::Up).to_bits(), "token_bucket_size");
    case("p < r", 24, Single::from_whole(749_999, Rounding::Up).to_bits(), "peak_bandwidth");
    case("m = 0", 28, 0, "minimum_policed_size");
    case("m > M", 28, 1501, "minimum_policed_size");
    case("M = 0", 32, 0, "max_sdu_size");
    case("R infinite", 40, 0x7f80_0000, "rate");
    check(
        "R < r",
        FLOWSPEC,
        (40, Single::from_whole(749_999, Rounding::Down).to_bits()),
        ("rate", Wsa::QosBadObject),
    );
}

#[test]
fn structures_that_are_not_those_of_rfc_2210_are_refused() {
    let case = |name, golden, at, word, field| check(name, golden, (at, word), (field, Wsa::QosBadObject));
    case("length", FLOWSPEC, 0, 0x0034_0902, "length");
    case("class", FLOWSPEC, 0, 0x0030_0a02, "class");
    case("type", FLOWSPEC, 0, 0x0030_0901, "c_type");
    case("version", FLOWSPEC, 4, 0x1000_000a, "version");
    case("words", FLOWSPEC, 4, 0x0000_000b, "overall_length");
    case("service", FLOWSPEC, 8, 0x0300_0009, "service_number");
    case("service's words", FLOWSPEC, 8, 0x0200_0006, "length");
    case("parameter", FLOWSPEC, 12, 0x7e00_0005, "parameter_id");
    case("a parameter marked as not valid", FLOWSPEC, 12, 0x7f80_0005, "flags");
    case("RSpec", FLOWSPEC, 36, 0x8300_0002, "parameter_id");
    case("general parameters first", ADSPEC, 8, 0x0500_0008, "service_number");
    case("a missing parameter", ADSPEC, 8, 0x0100_0006, "length");
    case("a duplicate parameter", ADSPEC, 28, 0x0400_0001, "parameter_id");
    case("a parameter that is not assigned", ADSPEC, 36, 0x0b00_0001, "parameter_id");
    case("a missing error term", ADSPEC, 44, 0x0200_0006, "length");
    case("a block longer than the object", ADSPEC, 84, 0x2a00_0001, "length");
    case("a truncated parameter", ADSPEC, 72, 0x8800_0002, "length");
    case("a duplicate service", ADSPEC, 84, 0x0500_0000, "service_number");
    check("bandwidth: NaN", ADSPEC, (24, 0x7fc0_0000), ("bandwidth", Wsa::QosEflowspec));
}

#[test]
fn bytes_truncated_at_any_length_are_refused() {
    for golden in [SENDER_TSPEC, FLOWSPEC, ADSPEC] {
        for length in 0..golden.len() {
            let mut cut = golden[..length].to_vec();
            assert!(RsvpObject::read(&cut).is_err(), "{length}");
            // Again, with both lengths those of the truncated object.
            if length >= 8 {
                cut[1] = u8::try_from(length).unwrap();
                cut[7] = u8::try_from(length / 4 - 2).unwrap();
                // An ADSPEC is valid after each of its services.
                let whole = golden == ADSPEC && [44, 80, 84].contains(&length);
                assert_eq!(RsvpObject::read(&cut).is_ok(), whole, "{length}");
            }
        }
    }
}

/// A request is rounded up and an offer down; a value of at most 24 bits is unchanged.
#[test]
fn requests_are_rounded_up_and_offers_down() {
    let odd = Rate::new((1 << 30) + 1);
    let spec = Flowspec::guaranteed(odd, Bytes::new(65_536));
    let asked = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    let mut bytes = Vec::new();
    RsvpObject::SenderTspec(asked).write(&mut bytes).unwrap();
    let Ok(RsvpObject::SenderTspec(read)) = RsvpObject::read(&bytes) else { panic!() };
    assert_eq!(read.token_rate(), Rate::new((1 << 30) + 128));
    let mut path = adspec();
    path.general.bandwidth = odd;
    let mut bytes = Vec::new();
    RsvpObject::Adspec(path).write(&mut bytes).unwrap();
    let Ok(RsvpObject::Adspec(read)) = RsvpObject::read(&bytes) else { panic!() };
    assert_eq!(read.general.bandwidth, Rate::new(1 << 30));
}
