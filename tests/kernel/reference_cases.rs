//! The kernel's own cases for `tc`, with gqos in place of `tc` for the command under test.
//!
//! Each case (`tools/testing/selftests/tc-testing` of the kernel's source) has commands before, a command under test
//! with its exit status, what `tc` shows then, and commands after. It is first run with `tc` alone; where it passes so,
//! it has to pass with gqos too, which then takes the words of the command and makes the request.
//!
//! `tests/kernel_cases.sh` fetches the cases and runs this test; `GQOS_KERNEL_CASES` is their directory.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use flowspec::{Bytes, Rate};
use gqos::lab::Site;
use gqos::linux::{Netlink, NewQdisc};
use gqos::tc::{Bfifo, Change, ClassPlace, Handle, HtbClass, HtbRoot, Op, Tbf};
use serde_json::Value;

use super::common::lab_with;

/// Cases that gqos need not pass: a line is the number of a case, then why.
const EXCEPTIONS: &str = include_str!("reference_cases_exceptions.txt");

const FILES: [&str; 5] = ["htb", "tbf", "fifo", "ingress", "pfifo_fast"];

/// The device of the cases. They make a dummy link, which not every kernel has: here it is one end of a veth.
const DEVICE: &str = "tdc0";

/// What iproute2 exits with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// The words are wrong.
    Usage = 1,
    /// The kernel refuses.
    Kernel = 2,
    /// A handle is wrong.
    Handle = 255,
}

struct Case {
    id: String,
    setup: Vec<String>,
    command: String,
    expected: i64,
    verify: String,
    pattern: String,
    count: usize,
    teardown: Vec<String>,
}

/// What carries out the command under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum By {
    Tc,
    Gqos,
}

fn shell(site: &Site, command: &str) -> Output {
    let command = command.replace("$TC", "tc").replace("$IP", "ip").replace("$DUMMY", DEVICE);
    let command = match command.contains("link add") {
        true => command.replace("type dummy", "type veth peer name tdc1"),
        false => command.replace("type dummy", "type veth"),
    };
    let net = format!("--net={}", site.namespace_path());
    Command::new("nsenter").arg(net).args(["sh", "-c", &command]).output().expect("nsenter is installed")
}

impl Case {
    fn read(case: &Value) -> Self {
        let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        // A command may have a list of exit statuses that it may end with.
        let commands = |key: &str| -> Vec<String> {
            let commands = case[key].as_array().into_iter().flatten();
            commands
                .map(|command| {
                    command.as_str().or_else(|| command[0].as_str()).expect("a command").to_owned()
                })
                .collect()
        };
        let number = |key: &str| {
            let number = case[key].as_i64();
            number.or_else(|| case[key].as_str()?.parse().ok()).expect("a number")
        };
        Self {
            id: text("id"),
            setup: commands("setup"),
            command: text("cmdUnderTest"),
            expected: number("expExitCode"),
            verify: text("verifyCmd"),
            pattern: text("matchPattern"),
            count: usize::try_from(number("matchCount")).expect("a count"),
            teardown: commands("teardown"),
        }
    }

    /// Why the case fails.
    fn run(&self, site: &Site, by: By) -> Result<(), String> {
        for command in &self.setup {
            shell(site, command);
        }
        let status = match by {
            By::Tc => i64::from(shell(site, &self.command).status.code().unwrap_or(-1)),
            By::Gqos => gqos(site, &self.command).map_or_else(|failure| failure as i64, |()| 0),
        };
        let shown = shell(site, &self.verify).stdout;
        for command in &self.teardown {
            shell(site, command);
        }
        // What the commands after leave.
        shell(site, "$IP link del dev $DUMMY");
        let shown = String::from_utf8_lossy(&shown);
        let pattern = regex_lite::Regex::new(&self.pattern).map_err(|error| error.to_string())?;
        let count = pattern.find_iter(&shown).count();
        match (status, count) == (self.expected, self.count) {
            true => Ok(()),
            false => Err(format!(
                "status {status} instead of {}, {count} matches of '{}' instead of {} in\n{shown}",
                self.expected, self.pattern, self.count
            )),
        }
    }
}

/// The words of a command, one after the other.
struct Words<'a>(std::iter::Peekable<std::str::SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, Failure> {
        self.0.next().ok_or(Failure::Usage)
    }

    fn handle(&mut self) -> Result<Handle, Failure> {
        let (major, minor) = self.next()?.split_once(':').ok_or(Failure::Handle)?;
        let number = |text: &str| match text {
            "" => Ok(0),
            text => u16::from_str_radix(text, 16).map_err(|_| Failure::Handle),
        };
        Ok(Handle::qdisc(number(major)?).class(number(minor)?))
    }

    /// A number with one of these units.
    fn number(&mut self, units: &[(&str, u64)]) -> Result<u64, Failure> {
        let text = self.next()?.to_ascii_lowercase();
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(Failure::Usage)?;
        Ok(number.parse::<u64>().map_err(|_| Failure::Usage)? * factor)
    }

    fn bytes(&mut self) -> Result<Bytes, Failure> {
        self.number(&[("", 1), ("b", 1), ("kb", 1024)]).map(Bytes::new)
    }

    fn rate(&mut self) -> Result<Rate, Failure> {
        self.number(&[("", 1), ("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000)])
            .map(|bits| Rate::new(bits / 8))
    }
}

/// Carries out a command of `tc` by gqos.
fn gqos(site: &Site, command: &str) -> Result<(), Failure> {
    let mut words = Words(command.split_whitespace().peekable());
    let (_, object, verb) = (words.next()?, words.next()?, words.next()?);
    let (mut handle, mut parent) = (Handle::default(), Handle::default());
    let kind = loop {
        match words.0.next() {
            Some("dev") => drop(words.next()?),
            Some("handle" | "classid") => handle = words.handle()?,
            Some("parent") => parent = words.handle()?,
            Some("root") => parent = Handle::ROOT,
            kind => break kind,
        }
    };
    if kind == Some("ingress") {
        // TC_H_INGRESS, and the handle of the qdisc there.
        (handle, parent) = (Handle::from_u32(0xffff_0000), Handle::from_u32(0xffff_fff1));
    }
    let place = ClassPlace { handle, parent };
    let verb = verb.to_owned();
    if object == "class" {
        let class = class(place, &mut words)?;
        return send(site, move |netlink, index| async move {
            netlink.apply(index, &Change { ops: vec![Op::AddClass(class)] }).await.map(drop)
        });
    }
    if verb == "del" {
        return send(site, move |netlink, index| async move { netlink.delete_qdisc(index, place).await });
    }
    let (kind, options) = options(kind.ok_or(Failure::Usage)?, &mut words)?;
    let qdisc = NewQdisc { parent, handle, kind, options };
    send(site, move |netlink, index| async move {
        match verb.as_str() {
            "add" => netlink.add_qdisc(index, qdisc).await,
            "replace" => netlink.replace_qdisc(index, qdisc).await,
            _ => netlink.change_qdisc(index, qdisc).await,
        }
    })
}

fn send<F>(site: &Site, work: impl FnOnce(Netlink, u32) -> F + Send + 'static) -> Result<(), Failure>
where
    F: Future<Output = Result<(), gqos::failure::KernelFailure>> + Send,
{
    let result = site.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name(DEVICE).await.unwrap().index;
        work(netlink, index).await
    });
    result.unwrap().map_err(|_| Failure::Kernel)
}

/// An HTB class by its words. gqos states every number; these are those that `tc` and the kernel take where one is not
/// said.
fn class(place: ClassPlace, words: &mut Words<'_>) -> Result<HtbClass, Failure> {
    let (mut rate, mut ceil, mut burst, mut cburst, mut quantum) = (None, None, None, None, None);
    let (mut prio, mut mtu) = (0, Bytes::new(1600));
    while let Some(word) = words.0.next() {
        match word {
            "rate" => rate = Some(words.rate()?),
            "ceil" => ceil = Some(words.rate()?),
            "burst" => burst = Some(words.bytes()?),
            "cburst" => cburst = Some(words.bytes()?),
            "quantum" => quantum = Some(words.bytes()?),
            "mtu" => mtu = words.bytes()?,
            "prio" => prio = u32::try_from(words.number(&[("", 1)])?).map_err(|_| Failure::Usage)?,
            _ => return Err(Failure::Usage),
        }
    }
    let rate = rate.ok_or(Failure::Usage)?;
    Ok(HtbClass {
        handle: place.handle,
        parent: place.parent,
        rate,
        ceil: ceil.unwrap_or(rate),
        burst: burst.unwrap_or(mtu),
        cburst: cburst.unwrap_or(mtu),
        // r2q is 10, and 1000 bytes are the least that the kernel takes of itself.
        quantum: quantum.unwrap_or(Bytes::new((rate.get() / 10).max(1000))),
        prio,
    })
}

/// The kind of a qdisc and its TCA_OPTIONS.
fn options(kind: &str, words: &mut Words<'_>) -> Result<(&'static str, Vec<u8>), Failure> {
    let none_more = |words: &mut Words<'_>| words.0.next().map_or(Ok(()), |_| Err(Failure::Usage));
    match kind {
        "htb" => Ok((HtbRoot::KIND, root(words)?)),
        "tbf" => Ok((Tbf::KIND, token_bucket(words)?)),
        "bfifo" | "pfifo" => {
            let kind = if kind == "bfifo" { Bfifo::KIND } else { "pfifo" };
            // Without a limit the kernel takes that of the device.
            let Some(word) = words.0.next() else { return Ok((kind, Vec::new())) };
            if word != "limit" {
                return Err(Failure::Usage);
            }
            // A pfifo has the same structure, of packets.
            let limit =
                if kind == "pfifo" { Bytes::new(words.number(&[("", 1)])?) } else { words.bytes()? };
            none_more(words)?;
            Ok((kind, Bfifo { limit }.options().map_err(|_| Failure::Usage)?))
        }
        "ingress" => none_more(words).map(|()| ("ingress", Vec::new())),
        "pfifo_fast" => none_more(words).map(|()| ("pfifo_fast", Vec::new())),
        _ => Err(Failure::Usage),
    }
}

fn root(words: &mut Words<'_>) -> Result<Vec<u8>, Failure> {
    let (mut root, mut rate_to_quantum) =
        (HtbRoot { handle: Handle::default(), default: 0, direct_queue: 1000 }, None);
    while let Some(word) = words.0.next() {
        let number = |words: &mut Words<'_>| words.number(&[("", 1)]);
        match word {
            "default" => {
                root.default = u16::from_str_radix(words.next()?, 16).map_err(|_| Failure::Usage)?;
            }
            "direct_qlen" => root.direct_queue = u32::try_from(number(words)?).map_err(|_| Failure::Usage)?,
            "r2q" => rate_to_quantum = Some(u32::try_from(number(words)?).map_err(|_| Failure::Usage)?),
            _ => return Err(Failure::Usage),
        }
    }
    let mut options = root.options();
    if let Some(rate_to_quantum) = rate_to_quantum {
        // gqos states each quantum, and has no setting for this: the second word of TCA_HTB_INIT.
        options[8..12].copy_from_slice(&rate_to_quantum.to_ne_bytes());
    }
    Ok(options)
}

/// What gqos has no setting for: the overhead and the link layer of a rate, and the second bucket.
#[derive(Default)]
struct Extra {
    overhead: u16,
    link_layer: Option<u8>,
    peak: Option<(Rate, Bytes)>,
}

fn token_bucket(words: &mut Words<'_>) -> Result<Vec<u8>, Failure> {
    let (mut rate, mut burst, mut limit, mut latency, mut mtu) = (None, None, None, None, None);
    let (mut extra, mut peak) = (Extra::default(), None);
    while let Some(word) = words.0.next() {
        match word {
            "rate" => rate = Some(words.rate()?),
            "burst" => burst = Some(words.bytes()?),
            "limit" => limit = Some(words.bytes()?),
            "latency" => latency = Some(words.number(&[("us", 1), ("ms", 1_000), ("s", 1_000_000)])?),
            "mtu" => mtu = Some(words.bytes()?),
            "peakrate" => peak = Some(words.rate()?),
            "overhead" => {
                extra.overhead = u16::try_from(words.bytes()?.get()).map_err(|_| Failure::Usage)?;
            }
            // TC_LINKLAYER_ETHERNET and TC_LINKLAYER_ATM.
            "linklayer" => extra.link_layer = Some(if words.next()? == "atm" { 2 } else { 1 }),
            _ => return Err(Failure::Usage),
        }
    }
    let (rate, burst) = (rate.ok_or(Failure::Usage)?, burst.ok_or(Failure::Usage)?);
    let limit = match (limit, latency) {
        (Some(limit), _) => limit,
        (None, Some(latency)) => Bytes::new(rate.get() * latency / 1_000_000 + burst.get()),
        (None, None) => return Err(Failure::Usage),
    };
    extra.peak = peak.zip(mtu);
    let options = Tbf { rate, burst, limit }.options().map_err(|_| Failure::Usage)?;
    Ok(extra.added_to(options))
}

impl Extra {
    /// The options of a TBF with these settings. They begin with the header of TCA_TBF_PARMS; the structure has two
    /// rates of 12 bytes, then limit, buffer and mtu.
    fn added_to(&self, mut options: Vec<u8>) -> Vec<u8> {
        options[6..8].copy_from_slice(&self.overhead.to_ne_bytes());
        if let Some(link_layer) = self.link_layer {
            options[5] = link_layer;
        }
        if let Some((peak, mtu)) = self.peak {
            options[17] = 1;
            let low = u32::try_from(peak.get()).unwrap_or(u32::MAX);
            options[24..28].copy_from_slice(&low.to_ne_bytes());
            // TCA_TBF_PBURST.
            options.extend([8_u16.to_ne_bytes(), 7_u16.to_ne_bytes()].concat());
            options.extend(u32::try_from(mtu.get()).unwrap_or(u32::MAX).to_ne_bytes());
        }
        options
    }
}

#[test]
#[ignore = "needs the kernel's cases, which tests/kernel_cases.sh fetches"]
fn cases_that_tc_passes_gqos_passes() {
    let directory = std::env::var("GQOS_KERNEL_CASES").expect("GQOS_KERNEL_CASES is the cases' directory");
    let Some(network) = lab_with(100, &["tc", "ip", "sh"]) else { return };
    let exceptions = EXCEPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut exceptions: BTreeSet<_> = exceptions.filter_map(|line| line.split_whitespace().next()).collect();
    let (mut passed, mut not_by_tc, mut failed) = (0, 0, Vec::new());
    for file in FILES {
        let path = Path::new(&directory).join(format!("qdiscs/{file}.json"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        for case in cases.iter().map(Case::read) {
            if let Err(why) = case.run(&network.server, By::Tc) {
                println!("{} {}: tc itself fails: {why}", case.id, case.command);
                not_by_tc += 1;
                continue;
            }
            let is_exception = exceptions.remove(case.id.as_str());
            match (case.run(&network.server, By::Gqos), is_exception) {
                (Ok(()), false) => passed += 1,
                (Ok(()), true) => failed.push(format!("{} passes, and is an exception", case.id)),
                (Err(_), true) => {}
                (Err(why), false) => failed.push(format!("{} {}: {why}", case.id, case.command)),
            }
        }
    }
    println!("{passed} cases pass by tc and by gqos; {not_by_tc} do not pass by tc");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(exceptions.is_empty(), "exceptions that are no cases: {exceptions:?}");
    assert!(passed >= 40, "only {passed} cases");
}
