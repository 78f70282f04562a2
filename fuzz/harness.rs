//! Properties of all inputs. The fuzz targets check them on new inputs, `flowspec/tests/corpus.rs` on kept ones.

use core::fmt::{Debug, Display};
use core::str::FromStr;

use flowspec::rsvp::RsvpObject;
use flowspec::{
    Abi, Bytes, Direction, ErrorTerms, Flowspec, Micros, QosBytes, QosRequest, Rate, ServiceType, Share,
    TSpec,
};

/// QOS bytes: the raw form keeps every bit; a valid QOS is written back with the same meaning, in both layouts and in
/// JSON; the error of an invalid one names a field that exists.
///
/// The first byte chooses the layout, and whether ProviderSpecific.len is made to agree with what
/// follows, so that the objects are reached.
pub(crate) fn qos(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let abi = if choice & 1 == 0 { Abi::Win64 } else { Abi::Win32 };
    let mut bytes = bytes.to_vec();
    if choice & 2 == 0 && bytes.len() >= abi.qos_size() {
        let rest = u32::try_from(bytes.len() - abi.qos_size()).expect("a fuzzer's input is small");
        bytes[64..68].copy_from_slice(&rest.to_le_bytes());
    }
    let read = match QosBytes::read(&bytes, abi) {
        Ok(read) => read,
        Err(error) => {
            assert!(error.offset <= abi.qos_size() && error.wsa().code() > 11_000, "{error}");
            return;
        }
    };
    let mut same = Vec::new();
    read.write(&mut same);
    assert_eq!(same, bytes, "raw is lossless");
    let bodies: usize = read.objects().flatten().map(|object| object.bytes.len()).sum();
    assert!(bodies <= read.provider_specific.len(), "no byte is in two objects");
    match read.check() {
        Err(error) => {
            assert!(error.offset < bytes.len().max(abi.qos_size()), "{error}");
            assert!(error.wsa().name().starts_with("WSA_QOS_"), "{error}");
            assert!(read.problems().contains(&error), "{error}");
        }
        Ok(request) => {
            assert_eq!(read.problems(), []);
            for abi in [Abi::Win32, Abi::Win64] {
                let mut written = Vec::new();
                match request.write(abi, &mut written) {
                    Ok(()) => {
                        let again = QosBytes::read(&written, abi).and_then(|read| read.check());
                        // A pointer that led elsewhere may lead into the buffer that is written now,
                        // or be cut to 32 bits; then it is not the same request.
                        let elsewhere = format!("{request:?}").contains("Outside");
                        assert!(again.as_ref() == Ok(&request) || elsewhere, "{again:?}\n{request:?}");
                    }
                    Err(error) => assert!(format!("{request:?}").contains("Outside"), "{error}\n{request:?}"),
                }
            }
            let json = serde_json::to_string(&request).expect("every request is JSON");
            let again: QosRequest = serde_json::from_str(&json).expect(&json);
            // A socket address has no text for its flow label.
            assert!(again == request || json.contains("socket_address"), "{json}");
            arithmetic(&request.sending, Direction::Sending);
            arithmetic(&request.receiving, Direction::Receiving);
        }
    }
}

/// RFC 2210's objects: a valid object is written back with the same meaning.
pub(crate) fn rsvp(input: &[u8]) {
    let mut bytes = input.to_vec();
    if let [l0, l1, _, _, ..] = &mut bytes[..]
        && let Ok(length) = u16::try_from(input.len())
    {
        [*l0, *l1] = length.to_be_bytes();
    }
    match RsvpObject::read(&bytes) {
        Ok(object) => {
            let mut written = Vec::new();
            object.write(&mut written).expect("what was read can be written");
            assert_eq!(RsvpObject::read(&written), Ok(object));
        }
        Err(error) => assert!(error.offset <= bytes.len() && !error.to_string().is_empty(), "{error}"),
    }
}

/// Texts: quantities, service types, and flowspecs in words or JSON. A parsed text is displayed as a text that parses to
/// the same value.
pub(crate) fn text(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else { return };
    displays_back::<Rate>(text);
    displays_back::<Bytes>(text);
    displays_back::<Micros>(text);
    displays_back::<Share>(text);
    displays_back::<ServiceType>(text);
    displays_back::<Flowspec>(text);
    if let Ok(spec) = serde_json::from_str::<Flowspec>(text) {
        let json = serde_json::to_string(&spec).expect("every flowspec is JSON");
        assert_eq!(serde_json::from_str::<Flowspec>(&json).ok(), Some(spec), "{json}");
        assert_eq!(spec.to_string().parse(), Ok(spec));
        arithmetic(&spec, Direction::Sending);
    }
    if let Ok(request) = serde_json::from_str::<QosRequest>(text) {
        let mut bytes = Vec::new();
        if request.write(Abi::Win64, &mut bytes).is_ok() {
            let read = QosBytes::read(&bytes, Abi::Win64).expect("what was written");
            assert!(read.check().is_ok());
        }
    }
}

fn displays_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert_eq!(shown.parse::<T>().ok(), Some(value), "{text:?} is shown as {shown:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// No number makes the arithmetic wrap or panic, and its bounds hold.
fn arithmetic(spec: &Flowspec, direction: Direction) {
    let Ok(Some(tspec)) = TSpec::new(spec, direction, Bytes::new(65_535)) else { return };
    let terms = ErrorTerms { c: Bytes::new(1500), d: Micros::new(100) };
    let target = spec.latency.unwrap_or(Micros::new(10_000));
    if let Some(rate) = tspec.least_rate(target, terms) {
        let bound = tspec.delay_bound(rate, terms);
        assert!(bound.is_none_or(|bound| bound <= target), "{bound:?} at {rate}, not {target}");
    }
    let at_rate = tspec.delay_bound(tspec.token_rate(), terms);
    let _ = (at_rate, tspec.buffer(tspec.token_rate(), terms), tspec.reshaper_buffer(terms));
    let _ = (tspec.slack(target, terms), tspec.arrival_bound(target), tspec.rate_with_header(Bytes::new(78)));
    assert_eq!(tspec.least_upper_bound(&tspec), tspec);
    assert!(tspec.covers(&tspec));
    if let Some(sum) = tspec.sum(&tspec) {
        assert!(sum.covers(&tspec));
    }
}
