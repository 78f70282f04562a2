//! `gqos flowspec explain`: what a flowspec asks for, in words and numbers.

use std::fmt::Write;
use std::process::ExitCode;

use flowspec::objects::ShapeDiscardMode;
use flowspec::{
    Bytes, Direction, ErrorTerms, Flowspec, Mark, Micros, Object, Peak, QosRequest, Rate, ServiceType, TSpec,
};
use serde::Serialize;

use super::{Failure, INVALID_FILE, Input, say};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    input: Input,
    /// The interface's MTU, where the flowspec leaves sizes to it.
    #[arg(long, value_name = "SIZE", default_value = "1500 B")]
    mtu: Bytes,
    /// Tell the delay at this reserved rate (R) too.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Tell the rate for this delay too.
    #[arg(long, value_name = "TIME")]
    delay: Option<Micros>,
    /// C, the rate-dependent error term of the path (RFC 2212).
    #[arg(long, value_name = "SIZE", default_value = "0 B")]
    c: Bytes,
    /// D, the rate-independent one.
    #[arg(long, value_name = "TIME", default_value = "0 us")]
    d: Micros,
    /// One JSON document instead of words.
    #[arg(long)]
    json: bool,
}

/// What both directions ask for.
#[derive(Debug, Serialize)]
struct Explanation {
    sending: Asked,
    receiving: Asked,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    provider_specific: Vec<Object>,
}

/// What one direction asks for.
#[derive(Debug, Serialize)]
struct Asked {
    flowspec: Flowspec,
    /// Nothing where nothing is to be reserved.
    traffic: Option<Traffic>,
    /// Windows' default marks, which gqos does not apply.
    mark: Option<Mark>,
    excess_mark: Option<Mark>,
    /// QOS_DS_CLASS, or the class selector of QOS_TRAFFIC_CLASS.
    #[serde(skip)]
    code_point: Option<u8>,
    /// Whether QOS_SD_MODE sets the mode below, which is otherwise Windows' default.
    #[serde(skip)]
    sets_mode: bool,
    shape_discard_mode: ShapeDiscardMode,
}

/// A TSpec with its defaults filled in, and what follows from it.
#[derive(Debug, Serialize)]
struct Traffic {
    token_rate: Rate,
    token_bucket_size: Bytes,
    peak_bandwidth: Peak,
    minimum_policed_size: Bytes,
    max_sdu_size: Bytes,
    defaulted: Vec<&'static str>,
    /// How long a full bucket lasts at the peak.
    burst_time: Option<Micros>,
    /// Most bytes in any window.
    arrival_bound: Vec<Window>,
    /// Delay and buffer at some reserved rates.
    served_at: Vec<Served>,
    /// The least rate for some delays.
    rate_for: Vec<Needed>,
}

#[derive(Debug, Serialize)]
struct Window {
    span: Micros,
    bytes: Bytes,
}

#[derive(Debug, Serialize)]
struct Served {
    reserved_rate: Rate,
    /// Nothing where there is no bound.
    delay_bound: Option<Micros>,
    buffer: Option<Bytes>,
}

#[derive(Debug, Serialize)]
struct Needed {
    delay: Micros,
    /// Nothing where no rate is enough.
    reserved_rate: Option<Rate>,
}

/// The windows over which the arrival bound is told, besides the burst's own.
const WINDOWS: [u64; 6] = [0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let request = arguments.input.request()?;
    let asked = |direction| {
        asked(arguments, &request, direction).map_err(|error| {
            let name = arguments.input.name();
            let wsa = error.wsa();
            Failure::new(INVALID_FILE, anyhow::anyhow!("{name}: {direction}: {error}; {wsa}"))
        })
    };
    let explanation = Explanation {
        sending: asked(Direction::Sending)?,
        receiving: asked(Direction::Receiving)?,
        provider_specific: request.provider_specific.clone(),
    };
    if arguments.json {
        let text = serde_json::to_string_pretty(&explanation);
        say(&(text.map_err(|error| Failure::new(INVALID_FILE, error))? + "\n"))?;
    } else {
        say(&words(arguments, &explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn asked(
    arguments: &Arguments,
    request: &QosRequest,
    direction: Direction,
) -> Result<Asked, flowspec::FlowspecError> {
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
    Ok(Asked {
        flowspec,
        traffic: tspec.map(|tspec| traffic(arguments, &flowspec, &tspec)),
        mark: service.default_mark(),
        excess_mark: ServiceType::Nonconforming.default_mark().filter(|_| service.reserves()),
        code_point: class.or(priority),
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
            .map(|span| Window { span, bytes: tspec.arrival_bound(span) })
            .collect(),
        served_at: rates.into_iter().map(served).collect(),
        rate_for,
    }
}

fn words(arguments: &Arguments, explanation: &Explanation) -> String {
    let mut text = String::new();
    for (name, asked) in [("sending", &explanation.sending), ("receiving", &explanation.receiving)] {
        // Writing to a String cannot fail.
        let _ = describe(&mut text, arguments, name, asked);
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

fn describe(text: &mut String, arguments: &Arguments, name: &str, asked: &Asked) -> std::fmt::Result {
    let spec = &asked.flowspec;
    writeln!(text, "{name}: {}", promise(spec.service_type))?;
    if spec.no_traffic_control {
        writeln!(text, "  The kernel's traffic control is to be left alone (SERVICE_NO_TRAFFIC_CONTROL).")?;
    }
    if spec.no_qos_signaling {
        writeln!(text, "  The network is not to be told (SERVICE_NO_QOS_SIGNALING).")?;
    }
    match (asked.mark, asked.code_point) {
        // The peer marks the packets that are received.
        _ if name != "sending" => {}
        (None, _) => {}
        (Some(_), Some(dscp)) => writeln!(text, "  Packets are marked DSCP {dscp}.")?,
        (Some(Mark { dscp, user_priority }), None) => {
            writeln!(
                text,
                "  Packets are marked only where the policy's class sets a code point. Windows' default is DSCP {dscp} and 802.1p {user_priority}."
            )?;
        }
    }
    let Some(traffic) = &asked.traffic else {
        return writeln!(text, "  Nothing is to be reserved.");
    };
    let note =
        |field: &str| if traffic.defaulted.contains(&field) { "   not given: the default" } else { "" };
    let peak = match traffic.peak_bandwidth {
        Peak::Infinite => "infinite".to_owned(),
        Peak::Finite(rate) => amount(rate, rate.get(), "B/s"),
    };
    let sizes = [
        ("token_bucket_size", "b", traffic.token_bucket_size),
        ("minimum_policed_size", "m", traffic.minimum_policed_size),
        ("max_sdu_size", "M", traffic.max_sdu_size),
    ]
    .map(|(field, letter, size)| (field, letter, amount(size, size.get(), "B")));
    let [bucket, minimum, maximum] = sizes;
    let rate = ("token_rate", "r", amount(traffic.token_rate, traffic.token_rate.get(), "B/s"));
    for (field, letter, value) in [rate, bucket, ("peak_bandwidth", "p", peak), minimum, maximum] {
        writeln!(text, "  {field:<21} {letter}  {value}{}", note(field))?;
    }
    for (field, time) in [("latency", spec.latency), ("delay_variation", spec.delay_variation)] {
        if let Some(time) = time {
            writeln!(text, "  {field:<21}    {time}")?;
        }
    }
    writeln!(text, "  {}", excess(asked))?;
    writeln!(text, "\n  At most so much passes in any window of")?;
    for Window { span, bytes } in &traffic.arrival_bound {
        let mark = if Some(*span) == traffic.burst_time {
            "   the burst ends: p until here, r from here on"
        } else {
            ""
        };
        writeln!(text, "  {:>12}  {:>13} B{mark}", span.to_string(), bytes.get())?;
    }
    writeln!(text, "\n  Served at R, with C = {} and D = {} along the path,", arguments.c, arguments.d)?;
    for Served { reserved_rate, delay_bound, buffer } in &traffic.served_at {
        let buffer = buffer.map_or(String::new(), |size| format!(", and needs a buffer of {} B", size.get()));
        match delay_bound {
            Some(bound) => {
                writeln!(
                    text,
                    "  {:>18}  no packet waits longer than {bound}{buffer}",
                    reserved_rate.to_string()
                )?;
            }
            None => writeln!(text, "  {:>18}  there is no bound: R is below r", reserved_rate.to_string())?,
        }
    }
    for Needed { delay, reserved_rate } in &traffic.rate_for {
        match reserved_rate {
            Some(rate) => {
                writeln!(text, "  A delay of {delay} needs R = {}.", amount(*rate, rate.get(), "B/s"))?
            }
            None => writeln!(text, "  No rate keeps a delay of {delay}: D alone is as long.")?,
        }
    }
    Ok(())
}

fn promise(service: ServiceType) -> &'static str {
    match service {
        ServiceType::NoTraffic => "nothing flows this way",
        ServiceType::BestEffort => "best effort, nothing is promised",
        ServiceType::ControlledLoad => "controlled load, as on a network that is hardly used (RFC 2211)",
        ServiceType::Guaranteed => "guaranteed, a firm rate and a bound on the delay (RFC 2212)",
        ServiceType::NetworkUnavailable => "a report: the network is lost",
        ServiceType::GeneralInformation => "every service type is on offer",
        ServiceType::NoChange => "stays as it is",
        ServiceType::Nonconforming => "excess traffic",
        ServiceType::NetworkControl => "the network's own signalling",
        ServiceType::Qualitative => "better than best effort, by an amount nobody can say",
    }
}

fn excess(asked: &Asked) -> &'static str {
    match asked.shape_discard_mode {
        ShapeDiscardMode::Discard => {
            "Datagrams that exceed this are dropped; a stream waits until it conforms."
        }
        ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus if asked.sets_mode => {
            "Traffic that exceeds this is sent at once, as far as the kernel's class of the flow lets it."
        }
        // Without QOS_SD_MODE traffic is shaped, for controlled load too.
        ShapeDiscardMode::Shape | ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus => {
            "Traffic that exceeds this waits until it conforms."
        }
    }
}

/// A quantity for people, and as Winsock counts it.
fn amount(shown: impl std::fmt::Display, number: u64, unit: &str) -> String {
    let (shown, plain) = (shown.to_string(), format!("{number} {unit}"));
    if shown == plain { shown } else { format!("{shown} ({plain})") }
}
