//! Objects that are not valid: errors with their field, offset and status, and lengths that are not true.

use flowspec::{Abi, QosBytes, Wsa};

use super::{GOLDEN, with_words, word};

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
fn every_problem_of_a_flowspec_is_reported() {
    let mut bytes = GOLDEN.to_vec();
    // Sending: an infinite token rate, no latency, m above M. Receiving: a service type that is not assigned, and b below M.
    for (at, value) in
        [(0, 0xFFFF_FFFE), (12, 0), (24, 1000), (28, 1001), (52, 7), (32, 500), (36, 999), (56, 1000)]
    {
        word(&mut bytes, at, value);
    }
    let problems = QosBytes::read(&bytes, Abi::Win64).unwrap().problems();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    let expected = [
        "sending.token_rate",
        "sending.latency",
        "sending.minimum_policed_size",
        "receiving.service_type",
        "receiving.token_bucket_size",
    ];
    assert_eq!(fields, expected);
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
