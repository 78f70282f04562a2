//! The provider-specific objects: golden bytes, pointers out of the buffer, and values that bytes cannot express.

#![allow(missing_docs, clippy::unwrap_used, clippy::float_arithmetic, reason = "tests")]

mod invalid;

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

#[test]
fn a_pointer_out_of_the_buffer_is_kept_as_a_number() {
    let mut elsewhere = GOLDEN.to_vec();
    word(&mut elsewhere, 100, 0x9000);
    let request = QosBytes::read(&elsewhere, Abi::Win64).unwrap().check().unwrap();
    let outside = Outside { pointer: 0x9000, count: 16 };
    assert_eq!(request.provider_specific[1], Object::Destaddr { socket_address: Pointee::Outside(outside) });
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
