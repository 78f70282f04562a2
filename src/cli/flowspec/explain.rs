//! `gqos flowspec explain`: explains a flowspec in words and numbers.

use std::fmt::Write;
use std::process::ExitCode;

use flowspec::objects::ShapeDiscardMode;
use flowspec::{
    Bytes, Direction, ErrorTerms, Flowspec, Mark, Micros, Object, Peak, QosRequest, Rate, ServiceType, TSpec,
};
use serde::Serialize;

use super::input::InputArguments;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::print;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    input: InputArguments,
    /// The interface's MTU, for sizes that the flowspec does not specify.
    #[arg(long, value_name = "SIZE", default_value = "1500 B")]
    mtu: Bytes,
    /// Add the delay bound at this reserved rate (R).
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Add the rate for this delay bound.
    #[arg(long, value_name = "TIME")]
    delay: Option<Micros>,
    /// C, the rate-dependent error term of the path (RFC 2212).
    #[arg(long, value_name = "SIZE", default_value = "0 B")]
    c: Bytes,
    /// D, the rate-independent error term of the path.
    #[arg(long, value_name = "TIME", default_value = "0 us")]
    d: Micros,
    /// Print one JSON document instead of text.
    #[arg(long)]
    json: bool,
}

/// The explanation of both directions.
#[derive(Debug, Serialize)]
struct Explanation {
    sending: Explained,
    receiving: Explained,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    provider_specific: Vec<Object>,
}

/// The explanation of one direction.
#[derive(Debug, Serialize)]
struct Explained {
    flowspec: Flowspec,
    /// `None` if nothing is to be reserved.
    traffic: Option<Traffic>,
    /// The DSCP that gqos gives to the packets because an object requests it: QOS_DS_CLASS, or the class selector of
    /// QOS_TRAFFIC_CLASS. A class of the policy may set one too.
    #[serde(skip_serializing_if = "Option::is_none")]
    dscp: Option<u8>,
    /// Windows' default marks, which gqos does not apply.
    windows_mark: Option<Mark>,
    windows_excess_mark: Option<Mark>,
    /// Whether packets of this direction may be marked: they are sent, and one of the directions is reserved.
    #[serde(skip)]
    may_be_marked: bool,
    /// Whether QOS_SD_MODE sets the mode below, which is otherwise Windows' default.
    #[serde(skip)]
    sets_mode: bool,
    shape_discard_mode: ShapeDiscardMode,
}

/// A TSpec with its defaults, and what follows from it.
#[derive(Debug, Serialize)]
struct Traffic {
    token_rate: Rate,
    token_bucket_size: Bytes,
    peak_bandwidth: Peak,
    minimum_policed_size: Bytes,
    max_sdu_size: Bytes,
    defaulted: Vec<&'static str>,
    /// How long a full bucket lasts at the peak rate.
    burst_time: Option<Micros>,
    /// The most bytes in any window.
    arrival_bound: Vec<ArrivalWindow>,
    /// Delay bounds and buffers at several reserved rates.
    served_at: Vec<Served>,
    /// The least rates for several delay bounds.
    rate_for: Vec<Needed>,
}

#[derive(Debug, Serialize)]
struct ArrivalWindow {
    span: Micros,
    bytes: Bytes,
}

#[derive(Debug, Serialize)]
struct Served {
    reserved_rate: Rate,
    /// `None` if there is no bound.
    delay_bound: Option<Micros>,
    buffer: Option<Bytes>,
}

#[derive(Debug, Serialize)]
struct Needed {
    delay: Micros,
    /// `None` if no rate is enough.
    reserved_rate: Option<Rate>,
}

/// The windows for the arrival bound in microseconds, besides the length of the burst.
const WINDOWS: [u64; 6] = [0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request = arguments.input.request()?;
    let explained = |direction| {
        explained(arguments, &request, direction).map_err(|error| {
            let (lead, wsa) = (arguments.input.lead(), error.wsa());
            CommandFailure::new(Exit::InvalidFile, anyhow::anyhow!("{lead}{direction}: {error}; {wsa}"))
        })
    };
    let explanation = Explanation {
        sending: explained(Direction::Sending)?,
        receiving: explained(Direction::Receiving)?,
        provider_specific: request.provider_specific.clone(),
    };
    if arguments.json {
        let text = serde_json::to_string_pretty(&explanation);
        print(&(text.map_err(|error| CommandFailure::new(Exit::InvalidFile, error))? + "\n"))?;
    } else {
        print(&words(arguments, &explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explained(
    arguments: &Arguments,
    request: &QosRequest,
    direction: Direction,
) -> Result<Explained, flowspec::FlowspecError> {
    let flowspec = *request.qos().get(direction);
    flowspec.check(direction)?;
    let tspec = TSpec::new(&flowspec, direction, arguments.mtu)?;
    let mode = request.provider_specific.iter().find_map(|object| match object {
        Object::SdMode { shape_discard_mode } => Some(*shape_discard_mode),
        _ => None,
    });
    let class = request.provider_specific.iter().find_map(|object| match object {
        Object::DsClass { ds_field } => Some(*ds_field),
        _ => None,
    });
    let priority = request.provider_specific.iter().find_map(|object| match object {
        Object::TrafficClass { traffic_class } => Some(*traffic_class << 3),
        _ => None,
    });
    let service = flowspec.service_type;
    // Only a socket with a reservation is classified, and the peer marks the packets that are received.
    let is_reserved = Direction::BOTH.into_iter().any(|direction| {
        TSpec::new(request.qos().get(direction), direction, arguments.mtu).is_ok_and(|tspec| tspec.is_some())
    });
    let may_be_marked = direction == Direction::Sending && service.default_mark().is_some() && is_reserved;
    Ok(Explained {
        flowspec,
        traffic: tspec.map(|tspec| traffic(arguments, &flowspec, &tspec)),
        dscp: class.or(priority).filter(|_| may_be_marked),
        windows_mark: service.default_mark(),
        windows_excess_mark: ServiceType::Nonconforming.default_mark().filter(|_| service.reserves()),
        may_be_marked,
        sets_mode: mode.is_some(),
        shape_discard_mode: mode.unwrap_or(ShapeDiscardMode::default_of(service)),
    })
}

fn traffic(arguments: &Arguments, spec: &Flowspec, tspec: &TSpec) -> Traffic {
    let terms = ErrorTerms { c: arguments.c, d: arguments.d };
    let absent = [
        ("token_bucket_size", spec.token_bucket_size.is_none()),
        ("peak_bandwidth", spec.peak_bandwidth.is_none()),
        ("minimum_policed_size", spec.minimum_policed_size.is_none()),
        ("max_sdu_size", spec.max_sdu_size.is_none()),
    ];
    let mut spans = WINDOWS.map(Micros::new).to_vec();
    spans.extend(tspec.burst_time());
    spans.sort_unstable();
    spans.dedup();
    let mut delays: Vec<_> =
        [spec.latency, spec.delay_variation, arguments.delay].into_iter().flatten().collect();
    delays.sort_unstable();
    delays.dedup();
    let rate_for: Vec<_> = delays
        .into_iter()
        .map(|delay| Needed { delay, reserved_rate: tspec.least_rate(delay, terms) })
        .collect();
    let mut rates = vec![tspec.token_rate()];
    if let Peak::Finite(peak) = tspec.peak_bandwidth() {
        rates.push(peak);
    }
    rates.extend(rate_for.iter().filter_map(|needed| needed.reserved_rate));
    rates.extend(arguments.rate);
    rates.sort_unstable();
    rates.dedup();
    let served = |rate| Served {
        reserved_rate: rate,
        delay_bound: tspec.delay_bound(rate, terms),
        buffer: tspec.buffer(rate, terms),
    };
    Traffic {
        token_rate: tspec.token_rate(),
        token_bucket_size: tspec.token_bucket_size(),
        peak_bandwidth: tspec.peak_bandwidth(),
        minimum_policed_size: tspec.minimum_policed_size(),
        max_sdu_size: tspec.max_sdu_size(),
        defaulted: absent.into_iter().filter(|(_, absent)| *absent).map(|(name, _)| name).collect(),
        burst_time: tspec.burst_time(),
        arrival_bound: spans
            .into_iter()
            .map(|span| ArrivalWindow { span, bytes: tspec.arrival_bound(span) })
            .collect(),
        served_at: rates.into_iter().map(served).collect(),
        rate_for,
    }
}

fn words(arguments: &Arguments, explanation: &Explanation) -> String {
    let mut text = String::new();
    for (name, explained) in [("sending", &explanation.sending), ("receiving", &explanation.receiving)] {
        // Writing to a String cannot fail.
        let _ = describe(&mut text, arguments, name, explained);
        text.push('\n');
    }
    for object in &explanation.provider_specific {
        let json = serde_json::to_string(object).unwrap_or_default();
        let _ = writeln!(text, "object {}: {json}", object.object_type());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn describe(text: &mut String, arguments: &Arguments, name: &str, explained: &Explained) -> std::fmt::Result {
    let spec = &explained.flowspec;
    writeln!(text, "{name}: {}", promise(spec.service_type))?;
    if spec.no_traffic_control {
        writeln!(text, "  The kernel's traffic control is not to be used (SERVICE_NO_TRAFFIC_CONTROL).")?;
    }
    if spec.no_qos_signaling {
        writeln!(text, "  No signalling messages are to be sent (SERVICE_NO_QOS_SIGNALING).")?;
    }
    match (explained.dscp, explained.windows_mark) {
        _ if !explained.may_be_marked => {}
        (Some(dscp), _) => writeln!(text, "  Packets are marked DSCP {dscp}.")?,
        (None, Some(Mark { dscp, user_priority })) => {
            writeln!(
                text,
                "  Packets are marked only where the policy's class sets a code point. Windows' default is DSCP {dscp} and 802.1p {user_priority}."
            )?;
        }
        (None, None) => {}
    }
    let Some(traffic) = &explained.traffic else {
        return writeln!(text, "  Nothing is to be reserved.");
    };
    describe_fields(text, spec, traffic)?;
    writeln!(text, "  {}", excess(explained))?;
    describe_windows(text, traffic)?;
    describe_service(text, arguments, traffic)
}

fn describe_fields(text: &mut String, spec: &Flowspec, traffic: &Traffic) -> std::fmt::Result {
    let note =
        |field: &str| if traffic.defaulted.contains(&field) { "   not given: the default" } else { "" };
    let peak = match traffic.peak_bandwidth {
        Peak::Infinite => "infinite".to_owned(),
        Peak::Finite(rate) => amount(rate, rate.get(), "B/s"),
    };
    let size = |size: Bytes| amount(size, size.get(), "B");
    for (field, letter, value) in [
        ("token_rate", "r", amount(traffic.token_rate, traffic.token_rate.get(), "B/s")),
        ("token_bucket_size", "b", size(traffic.token_bucket_size)),
        ("peak_bandwidth", "p", peak),
        ("minimum_policed_size", "m", size(traffic.minimum_policed_size)),
        ("max_sdu_size", "M", size(traffic.max_sdu_size)),
    ] {
        writeln!(text, "  {field:<21} {letter}  {value}{}", note(field))?;
    }
    for (field, time) in [("latency", spec.latency), ("delay_variation", spec.delay_variation)] {
        if let Some(time) = time {
            writeln!(text, "  {field:<21}    {time}")?;
        }
    }
    Ok(())
}

fn describe_windows(text: &mut String, traffic: &Traffic) -> std::fmt::Result {
    writeln!(text, "\n  The most bytes in any window of")?;
    for ArrivalWindow { span, bytes } in &traffic.arrival_bound {
        let mark = if Some(*span) == traffic.burst_time {
            "   the burst ends: rate p before, rate r after"
        } else {
            ""
        };
        writeln!(text, "  {:>12}  {:>13} B{mark}", span.to_string(), bytes.get())?;
    }
    Ok(())
}

fn describe_service(text: &mut String, arguments: &Arguments, traffic: &Traffic) -> std::fmt::Result {
    writeln!(
        text,
        "\n  At a reserved rate R, with C = {} and D = {} on the path:",
        arguments.c, arguments.d
    )?;
    for Served { reserved_rate, delay_bound, buffer } in &traffic.served_at {
        let rate = reserved_rate.to_string();
        let buffer = buffer.map_or(String::new(), |size| format!(", a buffer of {} B", size.get()));
        match delay_bound {
            Some(bound) => writeln!(text, "  {rate:>18}  a delay of at most {bound}{buffer}")?,
            None if *reserved_rate < traffic.token_rate => {
                writeln!(text, "  {rate:>18}  no bound on the delay: R is below r")?;
            }
            None => writeln!(text, "  {rate:>18}  no bound on the delay that can be stated")?,
        }
    }
    for Needed { delay, reserved_rate } in &traffic.rate_for {
        match reserved_rate {
            Some(rate) => {
                writeln!(text, "  A delay of {delay} needs R = {}.", amount(*rate, rate.get(), "B/s"))?
            }
            None => writeln!(text, "  No rate is enough for a delay of {delay}: D alone is as long.")?,
        }
    }
    Ok(())
}

fn promise(service: ServiceType) -> &'static str {
    match service {
        ServiceType::NoTraffic => "no traffic in this direction",
        ServiceType::BestEffort => "best effort, without a guarantee",
        ServiceType::ControlledLoad => "controlled load, as on a lightly loaded network (RFC 2211)",
        ServiceType::Guaranteed => "guaranteed, a firm rate and a bound on the delay (RFC 2212)",
        ServiceType::NetworkUnavailable => "a report: the network is unavailable",
        ServiceType::GeneralInformation => "every service type is supported",
        ServiceType::NoChange => "no change",
        ServiceType::Nonconforming => "excess traffic",
        ServiceType::NetworkControl => "signalling of the network itself",
        ServiceType::Qualitative => "better than best effort, by an unspecified amount",
    }
}

fn excess(explained: &Explained) -> &'static str {
    match explained.shape_discard_mode {
        ShapeDiscardMode::Discard => {
            "Datagrams that exceed this are dropped; a stream waits until it conforms."
        }
        ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus if explained.sets_mode => {
            "Traffic that exceeds this is sent at once, as far as the kernel's class of the flow lets it."
        }
        // Without QOS_SD_MODE traffic is shaped, for controlled load too.
        ShapeDiscardMode::Shape | ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus => {
            "Traffic that exceeds this waits until it conforms."
        }
    }
}

/// A quantity for people, followed by the number in Winsock's unit.
fn amount(shown: impl std::fmt::Display, number: u64, unit: &str) -> String {
    let (shown, plain) = (shown.to_string(), format!("{number} {unit}"));
    if shown == plain { shown } else { format!("{shown} ({plain})") }
}
