//! The provider-specific objects: golden bytes, errors with their field and status, and lengths that are not true.

#![allow(missing_docs, clippy::unwrap_used, clippy::float_arithmetic, reason = "tests")]

use flowspec::objects::*;
use flowspec::{
    Abi, Bytes, Flowspec, Object, QosBytes, QosRequest, Rate, RawFlowspec, RawQos, RawWsabuf, Wsa,
};

/// The result of SIO_GET_QOS in a 64-bit program. The buffer follows QOS directly, at 0x1050.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    0xb0, 0x71, 0x0b, 0x00,  //   0 SendingFlowspec.TokenRate: 750 000 B/s
    0x00, 0x00, 0x01, 0x00,  //   4 .TokenBucketSize: 65 536 B
    0x60, 0xe3, 0x16, 0x00,  //   8 .PeakBandwidth: 1 500 000 B/s
    0x50, 0xc3, 0x00, 0x00,  //  12 .Latency: 50 000 us
    0x20, 0x4e, 0x00, 0x00,  //  16 .DelayVariation: 20 000 us
    0x03, 0x00, 0x00, 0x40,  //  20 .ServiceType: GUARANTEED | SERVICE_NO_QOS_SIGNALING
    0xdc, 0x05, 0x00, 0x00,  //  24 .MaxSduSize: 1500 B
    0x40, 0x00, 0x00, 0x00,  //  28 .MinimumPolicedSize: 64 B
    0xff, 0xff, 0xff, 0xff,  //  32 ReceivingFlowspec.TokenRate: QOS_NOT_SPECIFIED
    0xff, 0xff, 0xff, 0xff,  //  36 .TokenBucketSize
    0xff, 0xff, 0xff, 0xff,  //  40 .PeakBandwidth
    0xff, 0xff, 0xff, 0xff,  //  44 .Latency
    0xff, 0xff, 0xff, 0xff,  //  48 .DelayVariation
    0x01, 0x00, 0x00, 0x00,  //  52 .ServiceType: BESTEFFORT
    0xff, 0xff, 0xff, 0xff,  //  56 .MaxSduSize
    0xff, 0xff, 0xff, 0xff,  //  60 .MinimumPolicedSize
    0x08, 0x01, 0x00, 0x00,  //  64 ProviderSpecific.len: 264
    0x00, 0x00, 0x00, 0x00,  //  68 padding
    0x50, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 72 .buf: 0x1050

    0xd2, 0x07, 0x00, 0x00,  //  80 ObjectType: QOS_OBJECT_SD_MODE
    0x0c, 0x00, 0x00, 0x00,  //  84 ObjectLength: 12
    0x01, 0x00, 0x00, 0x00,  //  88 ShapeDiscardMode: SHAPE
    0xd4, 0x07, 0x00, 0x00,  //  92 ObjectType: QOS_OBJECT_DESTADDR
    0x18, 0x00, 0x00, 0x00,  //  96 ObjectLength: 24
    0xe0, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 100 SocketAddress: 0x10e0, byte 224
    0x10, 0x00, 0x00, 0x00,  // 108 SocketAddressLength: 16
    0x00, 0x00, 0x00, 0x00,  // 112 padding
    0xe9, 0x03, 0x00, 0x00,  // 116 ObjectType: RSVP_OBJECT_RESERVE_INFO
    0x28, 0x00, 0x00, 0x00,  // 120 ObjectLength: 40
    0x02, 0x00, 0x00, 0x00,  // 124 Style: fixed filter
    0x01, 0x00, 0x00, 0x00,  // 128 ConfirmRequest
    0xf0, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 132 PolicyElementList: 0x10f0, byte 240
    0x01, 0x00, 0x00, 0x00,  // 140 NumFlowDesc
    0x00, 0x00, 0x00, 0x00,  // 144 padding
    0x10, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 148 FlowDescList: 0x1110, byte 272
    0xe8, 0x03, 0x00, 0x00,  // 156 ObjectType: RSVP_OBJECT_STATUS_INFO
    0x14, 0x00, 0x00, 0x00,  // 160 ObjectLength: 20
    0x02, 0x2b, 0x00, 0x00,  // 164 StatusCode: WSA_QOS_ADMISSION_FAILURE
    0x27, 0xdb, 0x00, 0x00,  // 168 ExtendedStatus1: 56103, bandwidth
    0xb0, 0x71, 0x0b, 0x00,  // 172 ExtendedStatus2
    0xa3, 0x0f, 0x00, 0x00,  // 176 ObjectType: QOS_OBJECT_DIFFSERV
    0x14, 0x00, 0x00, 0x00,  // 180 ObjectLength: 20
    0x01, 0x00, 0x00, 0x00,  // 184 DSFieldCount
    0x0a, 0x28, 0x08, 0x05, 0x01,  // 188 a rule: AF11 in, 40 out, 8 if it does not conform, 802.1p 5 and 1
    0x00, 0x00, 0x00,        // 193 padding
    0xd1, 0x07, 0x00, 0x00,  // 196 ObjectType: QOS_OBJECT_END_OF_LIST
    0x08, 0x00, 0x00, 0x00,  // 200 ObjectLength: 8
    0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad,  // 204 not used
    0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef,
    0x02, 0x00, 0x13, 0x88,  // 224 sin_family: AF_INET; sin_port: 5000
    0x0a, 0x00, 0x00, 0x02,  // 228 sin_addr: 10.0.0.2
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 232 sin_zero
    0xeb, 0x03, 0x00, 0x00,  // 240 ObjectType: RSVP_OBJECT_POLICY_INFO
    0x14, 0x00, 0x00, 0x00,  // 244 ObjectLength: 20
    0x01, 0x00, 0x00, 0x00,  // 248 NumPolicyElement
    0x08, 0x00, 0x03, 0x00,  // 252 Len: 8; Type: 3
    0x67, 0x71, 0x6f, 0x73,  // 256 Info: "gqos"
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 260 not used
    0xb0, 0x71, 0x0b, 0x00,  // 272 FLOWDESCRIPTOR.FlowSpec.TokenRate: 750 000 B/s
    0xff, 0xff, 0xff, 0xff,  // 276 .TokenBucketSize
    0xfe, 0xff, 0xff, 0xff,  // 280 .PeakBandwidth: POSITIVE_INFINITY_RATE
    0xff, 0xff, 0xff, 0xff,  // 284 .Latency
    0xff, 0xff, 0xff, 0xff,  // 288 .DelayVariation
    0x02, 0x00, 0x00, 0x00,  // 292 .ServiceType: CONTROLLEDLOAD
    0xff, 0xff, 0xff, 0xff,  // 296 .MaxSduSize
    0xff, 0xff, 0xff, 0xff,  // 300 .MinimumPolicedSize
    0x01, 0x00, 0x00, 0x00,  // 304 NumFilters
    0x00, 0x00, 0x00, 0x00,  // 308 padding
    0x40, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 312 FilterList: 0x1140, byte 320
    0x01, 0x00, 0x00, 0x00,  // 320 RSVP_FILTERSPEC.Type: FILTERSPECV4
    0x0a, 0x00, 0x00, 0x01,  // 324 Address: 10.0.0.1
    0x00, 0x00, 0x13, 0x88,  // 328 Unused; Port: 5000
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 332 the union is larger
];

fn golden() -> QosRequest {
    let mut flow = Flowspec::new(flowspec::ServiceType::ControlledLoad);
    flow.token_rate = Some(Rate::new(750_000));
    flow.peak_bandwidth = Some(flowspec::Peak::Infinite);
    let mut sending = Flowspec::guaranteed(Rate::new(750_000), Bytes::new(65_536));
    sending.peak_bandwidth = Some(flowspec::Peak::Finite(Rate::new(1_500_000)));
    sending.latency = Some(flowspec::Micros::new(50_000));
    sending.delay_variation = Some(flowspec::Micros::new(20_000));
    sending.max_sdu_size = Some(Bytes::new(1500));
    sending.minimum_policed_size = Some(Bytes::new(64));
    sending.no_qos_signaling = true;
    let element = PolicyElement { element_type: 3, info: Hex(b"gqos".to_vec()) };
    let filter = FilterSpec::V4 { address: [10, 0, 0, 1].into(), port: 5000 };
    let descriptor = FlowDescriptor { flowspec: flow, filter_list: Some(Pointee::Inside(vec![filter])) };
    let reserve_info = ReserveInfo {
        style: ReservationStyle::FixedFilter,
        confirm_request: 1,
        policy_element_list: Some(Pointee::Inside(PolicyInfo { policy_elements: vec![element] })),
        flow_desc_list: Some(Pointee::Inside(vec![descriptor])),
    };
    let rule = DiffservRule {
        inbound_ds_field: 10,
        conforming_outbound_ds_field: 40,
        nonconforming_outbound_ds_field: 8,
        conforming_user_priority: 5,
        nonconforming_user_priority: 1,
    };
    QosRequest {
        sending,
        receiving: Flowspec::BEST_EFFORT,
        provider_specific: vec![
            Object::SdMode { shape_discard_mode: ShapeDiscardMode::Shape },
            Object::Destaddr { socket_address: Pointee::Inside("10.0.0.2:5000".parse().unwrap()) },
            Object::ReserveInfo(reserve_info),
            Object::StatusInfo { status_code: 11010, extended_status1: 56103, extended_status2: 750_000 },
            Object::Diffserv { rules: vec![rule] },
            Object::EndOfList,
        ],
    }
}

#[test]
fn golden_bytes_are_read_and_written() {
    let raw = QosBytes::read(GOLDEN, Abi::Win64).unwrap();
    let mut same = Vec::new();
    raw.write(&mut same);
    assert_eq!(same, GOLDEN, "the raw form is lossless");
    let request = raw.check().unwrap();
    assert_eq!(request, golden());
    assert_eq!(request.provider_specific[3].status(), Some(Wsa::QosAdmissionFailure));
    for abi in [Abi::Win32, Abi::Win64] {
        let mut bytes = Vec::new();
        request.write(abi, &mut bytes).unwrap();
        assert_eq!(QosBytes::read(&bytes, abi).unwrap().check().unwrap(), request, "{abi:?}");
    }
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<QosRequest>(&json).unwrap(), request, "{json}");
}

/// The sizes of the structures in the headers, compiled for both ABIs.
#[test]
fn sizes_are_those_of_the_headers() {
    let outside = Outside { pointer: 0x7fff_0000, count: 28 };
    let general = GeneralParams {
        int_serv_aware_hop_count: 3,
        path_bandwidth: Rate::new(125_000_000),
        minimum_latency: INDETERMINATE_LATENCY,
        path_mtu: Bytes::new(1500),
        flags: 1,
    };
    let guaranteed = GuaranteedParams { c_total: 1500, d_total: 120, c_sum: 1500, d_sum: 120 };
    let service = ControlService { service: 2, overrides: general, guaranteed };
    let info = ReserveInfo {
        style: ReservationStyle::Default,
        confirm_request: 0,
        policy_element_list: None,
        flow_desc_list: Some(Pointee::Outside(outside)),
    };
    let element = PolicyElement { element_type: 2, info: Hex(vec![0; 4]) };
    for (object, win32, win64) in [
        (Object::EndOfList, 8, 8),
        (Object::SdMode { shape_discard_mode: ShapeDiscardMode::BorrowPlus }, 12, 12),
        (Object::ShapingRate { shaping_rate: Rate::new(1) }, 12, 12),
        (Object::Destaddr { socket_address: Pointee::Outside(outside) }, 16, 24),
        (Object::StatusInfo { status_code: 0, extended_status1: 0, extended_status2: 0 }, 20, 20),
        (Object::ReserveInfo(info), 28, 40),
        (Object::Adspec(Adspec { general_params: general, services: vec![service] }), 76, 76),
        (Object::PolicyInfo(PolicyInfo { policy_elements: vec![element] }), 20, 20),
        (Object::DsClass { ds_field: 63 }, 12, 12),
        (Object::TrafficClass { traffic_class: 7 }, 12, 12),
        (Object::Diffserv { rules: vec![] }, 12, 12),
        (Object::TcpTraffic, 8, 8),
        (Object::FriendlyName { friendly_name: "día 📺".into() }, 520, 520),
    ] {
        for (abi, size) in [(Abi::Win32, win32), (Abi::Win64, win64)] {
            let request = QosRequest { provider_specific: vec![object.clone()], ..golden() };
            let mut bytes = Vec::new();
            request.write(abi, &mut bytes).unwrap();
            let read = QosBytes::read(&bytes, abi).unwrap();
            let raw: Vec<_> = read.objects().map(Result::unwrap).collect();
            assert_eq!(raw[0].bytes.len(), size, "{object:?} {abi:?}");
            assert_eq!(raw[0].object_type, object.object_type());
            assert_eq!(read.check(), Ok(request.clone()));
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<QosRequest>(&json).ok(), Some(request), "{json}");
        }
    }
}

fn word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// A QOS of best effort whose buffer has these words.
fn with_words(words: &[u32]) -> Vec<u8> {
    let buffer: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    with_buffer(&buffer)
}

fn with_buffer(buffer: &[u8]) -> Vec<u8> {
    let len = u32::try_from(buffer.len()).unwrap();
    let best_effort = RawFlowspec::unspecified(1);
    let qos = RawQos {
        sending: best_effort,
        receiving: best_effort,
        provider_specific: RawWsabuf { len, padding: 0, buf: 0 },
    };
    let mut bytes = Vec::new();
    QosBytes { abi: Abi::Win64, qos, provider_specific: buffer }.write(&mut bytes);
    bytes
}

/// The field that is not valid, its offset and value, and the status.
struct Expected<'a> {
    field: &'a str,
    offset: usize,
    value: u64,
    wsa: Wsa,
}

#[track_caller]
fn check(name: &str, bytes: &[u8], expected: &Expected<'_>) {
    let error = QosBytes::read(bytes, Abi::Win64).and_then(|qos| qos.check()).expect_err(name);
    let found = (error.field.as_str(), error.offset, error.value, error.wsa());
    assert_eq!(found, (expected.field, expected.offset, expected.value, expected.wsa), "{name}: {error}");
}

/// Checks a QOS with these words in its buffer. The field's path is without `provider_specific[`.
#[track_caller]
fn check_words(name: &str, words: &[u32], expected: &Expected<'_>) {
    let field = format!("provider_specific[{}", expected.field);
    check(name, &with_words(words), &Expected { field: &field, ..*expected });
}

#[test]
fn a_flowspec_that_is_not_valid_is_refused_with_its_field() {
    let case = |name: &str, at: usize, value: u32, field: &str, wsa| {
        let mut bytes = GOLDEN.to_vec();
        word(&mut bytes, at, value);
        check(name, &bytes, &Expected { field, offset: at, value: u64::from(value), wsa });
    };
    case("r = 0", 0, 0, "sending.token_rate", Wsa::QosEflowspec);
    case("r absent", 0, u32::MAX, "sending.token_rate", Wsa::QosEflowspec);
    case("r infinite", 0, u32::MAX - 1, "sending.token_rate", Wsa::QosEflowspec);
    case("b = 0", 4, 0, "sending.token_bucket_size", Wsa::QosEflowspec);
    case("b < M", 4, 1499, "sending.token_bucket_size", Wsa::QosEflowspec);
    case("p < r", 8, 749_999, "sending.peak_bandwidth", Wsa::QosEflowspec);
    case("latency = 0", 12, 0, "sending.latency", Wsa::QosAdmissionFailure);
    case("delay variation = 0", 16, 0, "sending.delay_variation", Wsa::QosAdmissionFailure);
    case("a service type that is not assigned", 20, 7, "sending.service_type", Wsa::QosEservicetype);
    case("a service type of reports", 20, 4, "sending.service_type", Wsa::QosEservicetype);
    case("one bit of a two-bit flag", 20, 0x8000_0003, "sending.service_type", Wsa::QosEservicetype);
    case("M = 0", 24, 0, "sending.max_sdu_size", Wsa::QosEflowspec);
    case("m = 0", 28, 0, "sending.minimum_policed_size", Wsa::QosEflowspec);
    case("m > M", 28, 1501, "sending.minimum_policed_size", Wsa::QosEflowspec);
    case("a label as receiving service type", 52, 9, "receiving.service_type", Wsa::QosEservicetype);
    case("general information is for sending only", 52, 5, "receiving.service_type", Wsa::QosEservicetype);
}

#[test]
fn lists_and_simple_objects_that_are_not_valid_are_refused() {
    let case = |name: &str, words: &[u32], field: &str, offset, value, wsa| {
        check_words(name, words, &Expected { field, offset, value, wsa });
    };
    case("a mode that is not assigned", &[2002, 12, 4], "0].shape_discard_mode", 88, 4, Wsa::QosEsdmodeobj);
    case("a rate of zero", &[2003, 12, 0], "0].shaping_rate", 88, 0, Wsa::QosEshaperateobj);
    case(
        "a rate that is not specified",
        &[2003, 12, u32::MAX],
        "0].shaping_rate",
        88,
        0xFFFF_FFFF,
        Wsa::QosEshaperateobj,
    );
    case("a length below the layout's", &[2002, 8], "0].object_length", 84, 8, Wsa::QosEobjlength);
    case("a length above the layout's", &[2002, 16, 0, 0], "0].object_length", 84, 16, Wsa::QosEobjlength);
    case("a length below the header's", &[2002, 7, 0], "0].object_length", 84, 7, Wsa::QosEobjlength);
    case("a length of zero", &[2002, 0, 0], "0].object_length", 84, 0, Wsa::QosEobjlength);
    case("a length beyond the buffer", &[2002, 13, 0], "0].object_length", 84, 13, Wsa::QosEobjlength);
    case("a length of 4 GiB", &[2002, u32::MAX, 0], "0].object_length", 84, 0xFFFF_FFFF, Wsa::QosEobjlength);
    case("the second object", &[4004, 8, 2002, 12, 9], "1].shape_discard_mode", 96, 9, Wsa::QosEsdmodeobj);
    case("a type that is not assigned", &[2000, 8], "0].object_type", 80, 2000, Wsa::QosEunkownpsobj);
    case("a type without a layout", &[1004, 8], "0].object_type", 80, 1004, Wsa::QosEunkownpsobj);
    case("two objects of a type", &[4004, 8, 4004, 8], "1].object_type", 88, 4004, Wsa::QosEprovspecbuf);
    case("a truncated header", &[4004, 8, 2001], "1].object_type", 88, 4, Wsa::QosEprovspecbuf);
    case("an END_OF_LIST with a body", &[2001, 12, 0], "0].object_length", 84, 12, Wsa::QosEobjlength);
}

#[test]
fn marks_that_are_not_valid_are_refused() {
    let case = |name: &str, words: &[u32], field: &str, offset, value, wsa| {
        check_words(name, words, &Expected { field, offset, value, wsa });
    };
    case("a code point above 63", &[4001, 12, 64], "0].ds_field", 88, 64, Wsa::QosBadObject);
    case("a priority above 7", &[4002, 12, 8], "0].traffic_class", 88, 8, Wsa::QosBadObject);
    case("fewer rules than the count", &[4003, 12, 1], "0].ds_field_count", 88, 1, Wsa::QosBadObject);
    case(
        "a count of 4 G rules",
        &[4003, 12, u32::MAX],
        "0].ds_field_count",
        88,
        0xFFFF_FFFF,
        Wsa::QosBadObject,
    );
    case(
        "a code point above 63 in a rule",
        &[4003, 20, 1, 0x0000_4000, 0],
        "0].rules[0].conforming_outbound_ds_field",
        93,
        64,
        Wsa::QosBadObject,
    );
    case(
        "a priority above 7 in a rule",
        &[4003, 20, 1, 0, 8],
        "0].rules[0].nonconforming_user_priority",
        96,
        8,
        Wsa::QosBadObject,
    );
    case(
        "two rules for one code point",
        &[4003, 24, 2, 5, 0x0500, 0],
        "0].rules[1].inbound_ds_field",
        97,
        5,
        Wsa::QosBadObject,
    );
}

#[test]
fn rsvp_objects_that_are_not_valid_are_refused() {
    let case = |name: &str, words: &[u32], field: &str, offset, value, wsa| {
        check_words(name, words, &Expected { field, offset, value, wsa });
    };
    case(
        "a count of 4 G elements",
        &[1003, 12, u32::MAX],
        "0].num_policy_element",
        88,
        0xFFFF_FFFF,
        Wsa::QosEpolicyobj,
    );
    case(
        "an element longer than the object",
        &[1003, 20, 1, 0x0001_0009, 0],
        "0].policy_element[0].len",
        92,
        9,
        Wsa::QosEpolicyobj,
    );
    case(
        "an element with a length of zero",
        &[1003, 16, 1, 0x0001_0000],
        "0].policy_element[0].len",
        92,
        0,
        Wsa::QosEpolicyobj,
    );
    case(
        "an element of the reserved type",
        &[1003, 16, 1, 0x0000_0004],
        "0].policy_element[0].type",
        94,
        0,
        Wsa::QosReservedPetype,
    );
    case("a policy object that is only a header", &[1003, 8], "0].object_length", 84, 8, Wsa::QosEobjlength);
    case(
        "fewer services than the count",
        &[1002, 32, 0, 0, 0, 0, 0, 1],
        "0].number_of_services",
        108,
        1,
        Wsa::QosBadObject,
    );
    case("a truncated ADSPEC", &[1002, 28, 0, 0, 0, 0, 0], "0].object_length", 84, 28, Wsa::QosEobjlength);
    case(
        "a style that is not assigned",
        &[1001, 40, 4, 0, 0, 0, 0, 0, 0, 0],
        "0].style",
        88,
        4,
        Wsa::QosEfilterstyle,
    );
    case(
        "a null pointer to flows",
        &[1001, 40, 0, 0, 0, 0, 1, 0, 0, 0],
        "0].flow_desc_list",
        112,
        1,
        Wsa::QosEflowcount,
    );
}

#[test]
fn addresses_and_names_that_are_not_valid_are_refused() {
    let case = |name: &str, words: &[u32], field: &str, offset, value, wsa| {
        check_words(name, words, &Expected { field, offset, value, wsa });
    };
    let destaddr =
        |pointer, length| [2004, 24, pointer, 0, length, 0, 2001, 8, 0x8813_0002, 0x0200_000a, 0, 0];
    case("a null pointer", &destaddr(0, 16), "0].socket_address", 88, 0, Wsa::QosEprovspecbuf);
    case("a pointer into the list", &destaddr(8, 16), "0].socket_address", 88, 8, Wsa::QosEprovspecbuf);
    case(
        "a target beyond the end of the buffer",
        &destaddr(32, 17),
        "0].socket_address",
        88,
        32,
        Wsa::QosEprovspecbuf,
    );
    case("an address of 4 GiB", &destaddr(32, u32::MAX), "0].socket_address", 88, 32, Wsa::QosEprovspecbuf);
    case("an address of no bytes", &destaddr(32, 0), "0].socket_address_length", 96, 0, Wsa::QosBadObject);
    case("a truncated address", &destaddr(32, 15), "0].socket_address_length", 96, 15, Wsa::QosBadObject);
    let mut name = vec![4005, 520];
    name.extend([0x0041_0041; 128]);
    case("a name without its zero", &name, "0].friendly_name", 598, 0x41, Wsa::QosBadObject);
    name[2] = 0x0000_D800;
    case("half of a surrogate pair", &name, "0].friendly_name", 88, 0, Wsa::QosBadObject);
}

/// Checks the golden bytes with one word replaced. The field's path is without `provider_specific[2].`.
#[track_caller]
fn check_golden(name: &str, (at, word_value): (usize, u32), expected: &Expected<'_>) {
    let mut bytes = GOLDEN.to_vec();
    word(&mut bytes, at, word_value);
    let field = format!("provider_specific[2].{}", expected.field);
    check(name, &bytes, &Expected { field: &field, ..*expected });
}

#[test]
fn pointers_to_policy_objects_that_are_not_valid_are_refused() {
    let case = |name: &str, replaced, field: &str, offset, value, wsa| {
        check_golden(name, replaced, &Expected { field, offset, value, wsa });
    };
    case(
        "a policy object inside the list",
        (132, 0x1074),
        "policy_element_list",
        132,
        0x1074,
        Wsa::QosEprovspecbuf,
    );
    case(
        "a policy object that is an address too",
        (132, 0x10e0),
        "policy_element_list",
        132,
        0x10e0,
        Wsa::QosEprovspecbuf,
    );
    case(
        "a policy object of another type",
        (240, 1002),
        "policy_element_list.object_type",
        240,
        1002,
        Wsa::QosEpolicyobj,
    );
    case(
        "a policy object of 4 GiB",
        (244, u32::MAX),
        "policy_element_list.object_length",
        244,
        0xFFFF_FFFF,
        Wsa::QosEobjlength,
    );
}

#[test]
fn pointers_to_flows_and_filters_that_are_not_valid_are_refused() {
    let case = |name: &str, replaced, field: &str, offset, value, wsa| {
        check_golden(name, replaced, &Expected { field, offset, value, wsa });
    };
    case("a count of 4 G flows", (140, u32::MAX), "flow_desc_list", 148, 0x1110, Wsa::QosEprovspecbuf);
    case("a count of two for one flow", (140, 2), "flow_desc_list", 148, 0x1110, Wsa::QosEprovspecbuf);
    case(
        "filters that are the flow too",
        (312, 0x1110),
        "flow_desc_list[0].filter_list",
        312,
        0x1110,
        Wsa::QosEprovspecbuf,
    );
    case(
        "a count of 4 G filters",
        (304, u32::MAX),
        "flow_desc_list[0].filter_list",
        312,
        0x1140,
        Wsa::QosEprovspecbuf,
    );
    case(
        "a null pointer to filters",
        (312, 0),
        "flow_desc_list[0].filter_list",
        312,
        1,
        Wsa::QosEfiltercount,
    );
    case(
        "a filter type that is not assigned",
        (320, 6),
        "flow_desc_list[0].filter_list[0].type",
        320,
        6,
        Wsa::QosEfiltertype,
    );
    case(
        "a service type that is not assigned",
        (292, 8),
        "flow_desc_list[0].flowspec.service_type",
        292,
        8,
        Wsa::QosEpsflowspec,
    );
    case("r = 0", (272, 0), "flow_desc_list[0].flowspec.token_rate", 272, 0, Wsa::QosEpsflowspec);
}

#[test]
fn a_pointer_out_of_the_buffer_is_kept_as_a_number() {
    let mut elsewhere = GOLDEN.to_vec();
    word(&mut elsewhere, 100, 0x9000);
    let request = QosBytes::read(&elsewhere, Abi::Win64).unwrap().check().unwrap();
    let outside = Outside { pointer: 0x9000, count: 16 };
    assert_eq!(request.provider_specific[1], Object::Destaddr { socket_address: Pointee::Outside(outside) });
}

#[test]
fn bytes_truncated_at_any_length_are_refused() {
    for length in 0..GOLDEN.len() {
        let error = QosBytes::read(&GOLDEN[..length], Abi::Win64).expect_err("cut short");
        let expected = match length {
            0..64 => Wsa::QosEflowspec,
            _ => Wsa::QosEprovspecbuf,
        };
        assert_eq!(error.wsa(), expected, "{length}: {error}");
        assert!(error.offset <= length || error.field == "provider_specific.buf", "{length}: {error}");
        // Again, with a length that is that of the truncated buffer.
        if length >= 80 {
            let mut cut = GOLDEN[..length].to_vec();
            word(&mut cut, 64, u32::try_from(length - 80).unwrap());
            let read = QosBytes::read(&cut, Abi::Win64).expect("its length agrees");
            // Valid after a whole object, where each target of a pointer is whole or entirely missing. The pointer to
            // a missing one leads out of the buffer.
            let whole = matches!(length, 80 | 92 | 116 | 156 | 176 | 196 | 204..=224 | 240 | 260..=272 | 320);
            assert_eq!(read.check().is_ok(), whole, "{length}");
        }
    }
    let message = QosBytes::read(&GOLDEN[..72], Abi::Win64).expect_err("cut short").to_string();
    assert!(message.contains("a win32 QOS has as many"), "{message}");
    let mut longer = GOLDEN.to_vec();
    longer.push(0);
    let too_many =
        Expected { field: "provider_specific.len", offset: 64, value: 264, wsa: Wsa::QosEprovspecbuf };
    check("one byte too many", &longer, &too_many);
    word(&mut longer, 64, u32::MAX);
    check("a length of 4 GiB", &longer, &Expected { value: 0xFFFF_FFFF, ..too_many });
}

#[test]
fn a_value_that_bytes_cannot_express_is_not_written() {
    let write = |object: Object| {
        let request = QosRequest { provider_specific: vec![object, Object::EndOfList], ..golden() };
        let mut bytes = Vec::new();
        let result = request.write(Abi::Win64, &mut bytes).map_err(|error| error.wsa());
        assert_eq!(bytes.is_empty(), result.is_err(), "all or nothing");
        result
    };
    assert_eq!(write(Object::TcpTraffic), Ok(()));
    assert_eq!(write(Object::TrafficClass { traffic_class: 8 }), Err(Wsa::QosBadObject));
    assert_eq!(write(Object::ShapingRate { shaping_rate: Rate::new(1 << 32) }), Err(Wsa::QosBadObject));
    assert_eq!(write(Object::ShapingRate { shaping_rate: Rate::ZERO }), Err(Wsa::QosEshaperateobj));
    assert_eq!(write(Object::FriendlyName { friendly_name: "x".repeat(256) }), Err(Wsa::QosBadObject));
    assert_eq!(write(Object::EndOfList), Err(Wsa::QosEprovspecbuf));
    let mut fast = golden();
    fast.sending.token_rate = Some(Rate::new(1 << 32));
    let error = fast.write(Abi::Win64, &mut Vec::new()).expect_err("a rate above 32 bits");
    assert_eq!(
        (error.field.as_str(), error.value, error.wsa()),
        ("sending.token_rate", 1 << 32, Wsa::QosEflowspec)
    );
}

#[test]
fn every_problem_is_reported() {
    let mut bytes = GOLDEN.to_vec();
    word(&mut bytes, 0, 0);
    word(&mut bytes, 52, 7);
    word(&mut bytes, 88, 4);
    let problems = QosBytes::read(&bytes, Abi::Win64).unwrap().problems();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        ["sending.token_rate", "receiving.service_type", "provider_specific[0].shape_discard_mode"]
    );
    let message = problems[2].to_string();
    assert_eq!(
        message,
        "provider_specific[0].shape_discard_mode at byte 88 is 4: a mode is 0 (borrow), 1 (shape), 2 (discard) or 3 (borrow_plus)"
    );
}
