//! The audit trail of a manager, replayed: the same requests get the same verdicts, from the begin of any file on.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use flowspec::{Both, Bytes, Flowspec, Micros, Moment, Qos, Rate};
use gqos::admission::{GroupRequest, Ladder, NewFlow, Operation, Request};
use gqos::failure::{KernelCall, KernelFailure};
use gqos::flowspec::Errno;
use gqos::manager::{Effect, Input, Manager, RequestId, Root, Seen};
use gqos::policy::{GroupMode, Owner, Policy, Source};
use gqos::scenario::audit::{AuditLine, AuditRecord, AuditReplay, ComparedKind, ReplayedLine};
use gqos::telemetry::audit::{AuditClient, AuditRun, AuditTrail, Audited};

const POLICY: &str = r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
ingress = { capacity = "100 Mbit/s", reservable = "80%" }
[interface.eth1]
egress = { capacity = "auto", reservable = "50%" }
on_capacity_drop = "shed"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "8 Mbit/s", token_bucket_size = "64 KiB" }
[template.sd]
sending = { service_type = "controlled_load", token_rate = "2 Mbit/s", token_bucket_size = "32 KiB" }
[class.viewer]
share = "50 Mbit/s"
max_flows = 9
setup_priority = 3
holding_priority = 3
[class.important]
share = "60 Mbit/s"
setup_priority = 1
holding_priority = 1
[client."c1"]
max_flows = 4
"#;

struct Random(u64);

impl Random {
    /// Below `end`, by xorshift.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

/// A manager whose kernel refuses some changes, and the files of its audit trail.
struct Site {
    manager: Manager,
    trail: AuditTrail,
    files: Vec<String>,
    now: Moment,
    requests: u64,
    random: Random,
}

fn policy() -> Arc<Policy> {
    Arc::new(Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap().0)
}

impl Site {
    fn new(seed: u64) -> Self {
        let mut manager = Manager::new(policy());
        manager.record_audit();
        let run = AuditRun { run: format!("r{seed}"), version: "0".into(), pid: 1 };
        let epoch = Moment::from_micros(1_800_000_000_000_000);
        let mut trail = AuditTrail::new(run, epoch, &policy());
        let files = vec![trail.restate(Moment::START)];
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut site = Self { manager, trail, files, now: Moment::START, requests: 0, random };
        let seen = |interface: &str, index, root| {
            let (mtu, speed) = (Bytes::new(1500), Some(Rate::from_mbit(60)));
            let interface = interface.into();
            Input::Seen(Seen { interface, index, mtu, speed, root, shares_wire_with: None })
        };
        site.feed(seen("eth0", 2, Root::Default));
        site.feed(seen("eth1", 3, Root::Taken { holder: "another".to_owned().into() }));
        site
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let output = self.manager.handle(input, self.now);
            output.audit.iter().for_each(|audited| self.write(audited));
            for effect in output.effects {
                if let Effect::Apply { id, .. } = effect {
                    let is_refused = self.requests > 0 && self.random.below(7) == 0;
                    let failure = || KernelCall("RTM_NEWTCLASS").failed("eth0", Errno::ENOMEM);
                    let result = if is_refused { Err(failure()) } else { Ok(()) };
                    inputs.push(Input::Applied { id, result });
                }
            }
        }
    }

    fn write(&mut self, audited: &Audited) {
        let lines = self.trail.lines(audited, AuditClient { uid: None, pid: Some(7) });
        self.files.last_mut().unwrap().push_str(&lines);
    }

    fn qos(&mut self) -> Qos {
        let (rate, bucket) = (self.random.of(&[1, 3, 9, 20]), self.random.of(&[9000, 60_000]));
        let spec = Flowspec::guaranteed(Rate::from_mbit(rate), Bytes::new(bucket));
        match self.random.below(3) {
            0 => Qos { sending: spec, receiving: spec },
            _ => Qos::sending(spec),
        }
    }

    fn reserve(&mut self, id: String) -> Operation {
        let interface = self.random.of(&["eth0", "eth0", "eth1"]);
        let qos = self.qos();
        let mut request = Request::new(NewFlow { id: &id, interface }, qos);
        request.class =
            self.random.of(&[None, Some("viewer"), Some("important"), Some("none")]).map(str::to_owned);
        request.client = self.random.of(&[None, Some("c1"), Some("c\u{202e}2")]).map(str::to_owned);
        request.group = self.random.of(&[None, None, None, Some("g")]).map(str::to_owned);
        request.time_to_live = self.random.of(&[None, None, Some(Micros::new(3_000_000))]);
        request.start =
            self.random.of(&[None, None, None, Some(self.now.saturating_add(Micros::new(2_000_000)))]);
        let templates = policy().templates.clone();
        let template = |name: &str| (name.to_owned(), templates[name].qos);
        let ladder = match self.random.below(3) {
            0 => {
                request.qos = templates["hd"].qos;
                Ladder { request, first: Some("hd".into()), renditions: vec![template("sd")] }
            }
            _ => request.into(),
        };
        Operation::Reserve(Box::new(ladder))
    }

    fn step(&mut self) {
        let passed = self.random.of(&[0, 1, 1000, 400_000]);
        self.now = self.now.saturating_add(Micros::new(passed));
        let id = format!("v{}", self.random.below(24));
        let operation = match self.random.below(16) {
            0..=6 => self.reserve(id),
            7 | 8 => Operation::Release { id },
            9 | 10 => {
                let Qos { sending, receiving } = self.qos();
                let receiving = self.random.of(&[None, Some(receiving)]);
                let flowspecs = Box::new(Both { sending: Some(sending), receiving });
                Operation::Renegotiate { id, flowspecs }
            }
            11 => Operation::Refresh { id, time_to_live: Micros::new(2_000_000) },
            12 => {
                let (capacity, interface) =
                    (self.random.of(&[40, 80, 100]), self.random.of(&["eth0", "eth1"]));
                let direction = self.random.of(&flowspec::Direction::BOTH);
                Operation::Capacity {
                    interface: interface.into(),
                    direction,
                    capacity: Rate::from_mbit(capacity),
                }
            }
            13 => {
                let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(20), Bytes::new(90_000)));
                let mode = self.random.of(&[GroupMode::Envelope, GroupMode::Shared]);
                let (id, interface) = ("g".into(), "eth0".into());
                Operation::Group(Box::new(GroupRequest { id, interface, class: None, mode, qos }))
            }
            14 => Operation::Ungroup { id: "g".into() },
            _ => Operation::Tick,
        };
        self.requests += 1;
        let id = RequestId(self.requests);
        self.feed(Input::Request { id, operation: Box::new(operation) });
    }

    fn rotate(&mut self) {
        let begin = self.trail.restate(self.now);
        self.files.push(begin);
    }
}

/// Replays files and gives the number of verdicts; every one is to be the same.
#[track_caller]
fn check(name: &str, files: &[String]) -> usize {
    let policy = policy();
    let mut replay = AuditReplay::new(Arc::clone(&policy));
    let mut verdicts = 0;
    for (number, text) in files.iter().flat_map(|file| file.lines()).enumerate() {
        let line =
            AuditLine::read(text, &policy).unwrap_or_else(|error| panic!("{name}:{number}: {error}: {text}"));
        let replayed = replay.line(&line);
        let Some(verdict) = replayed.verdict() else { continue };
        verdicts += 1;
        assert_eq!(verdict.kind, ComparedKind::Same, "{name}, line {number}: {verdict:#?}\n{text}");
        let ReplayedLine::Decided(decision, _) = &replayed else { continue };
        let recorded = &line.fields["decision"];
        let now = serde_json::to_value(decision).unwrap();
        assert_eq!(now["charged"], recorded["charged"], "{name}, line {number}: {text}");
        assert_eq!(now["reserved"], recorded["reserved"], "{name}, line {number}: {text}");
        assert_eq!(now["preempted"], recorded["preempted"], "{name}, line {number}: {text}");
    }
    replay.dry_run().invariants();
    verdicts
}

fn seeds() -> u64 {
    std::env::var("GQOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(8)
}

#[test]
fn a_log_replays_to_the_same_verdicts() {
    let mut verdicts = 0;
    for seed in 1..=seeds() {
        let mut site = Site::new(seed);
        (0..300).for_each(|_| site.step());
        verdicts += check(&format!("seed {seed}"), &site.files);
    }
    assert!(verdicts as u64 > seeds() * 100, "{verdicts} verdicts");
}

#[test]
fn each_file_replays_alone_and_after_those_before() {
    for seed in 1..=seeds() {
        let mut site = Site::new(seed);
        for _ in 0..4 {
            (0..80).for_each(|_| site.step());
            site.rotate();
        }
        (0..80).for_each(|_| site.step());
        check(&format!("seed {seed}, all files"), &site.files);
        for (number, file) in site.files.iter().enumerate() {
            check(&format!("seed {seed}, file {number}"), std::slice::from_ref(file));
        }
    }
}

/// A daemon writes down what it refuses, and a trace cannot request all of that.
#[test]
fn a_refused_request_that_no_trace_can_have_is_read() {
    let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap();
    let line = |decision: &str| {
        format!(
            r#"{{"at_us": 1, "op": "reserve", "id": "n", "interface": "eth0", "template": "hd", "setup_priority": 99, "decision": {decision}}}"#
        )
    };
    let refused = r#"{"op": "reserve", "ok": false, "reason": "invalid_priority", "message": "99"}"#;
    assert_eq!(AuditLine::read(&line(refused), &policy).unwrap().record, AuditRecord::Refused);
    let granted = r#"{"op": "reserve", "ok": true, "reason": null, "message": "granted"}"#;
    assert!(AuditLine::read(&line(granted), &policy).is_err());
    assert!(AuditLine::read(&line("null"), &policy).is_err());
}

/// The kernel has refused what the ledger had granted, and a request came while its id was in use: both lines have
/// the requests, of which no policy decides again.
#[test]
fn a_refusal_by_the_kernel_has_its_request() {
    let mut site = Site::new(1);
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(9000)));
    let mut request = Request::new(NewFlow { id: "v", interface: "eth0" }, qos);
    (request.client, request.class) = (Some("c1".into()), Some("viewer".into()));
    request.owner = Owner { uid: Some(7), ..Owner::default() };
    // The interface has its tree.
    let first = Request { id: "w".into(), ..request.clone() };
    let operation = Box::new(Operation::Reserve(Box::new(first.into())));
    site.feed(Input::Request { id: RequestId(9), operation });
    let reserve = || Box::new(Operation::Reserve(Box::new(request.clone().into())));
    let mut changes = Vec::new();
    for number in 1..=2 {
        let input = Input::Request { id: RequestId(number), operation: reserve() };
        let output = site.manager.handle(input, site.now);
        output.audit.iter().for_each(|fact| site.write(fact));
        changes.extend(output.effects.into_iter().filter_map(|effect| match effect {
            Effect::Apply { id, .. } => Some(id),
            _ => None,
        }));
    }
    let failure = KernelFailure::not_expressible("eth0", "no such class");
    let output = site.manager.handle(Input::Applied { id: changes[0], result: Err(failure) }, site.now);
    output.audit.iter().for_each(|fact| site.write(fact));
    let lines = site.files[0].lines().map(|line| AuditLine::read(line, &policy()).unwrap());
    let refused: Vec<_> = lines.filter(|line| line.text("op") == Some("refused")).collect();
    let reasons: Vec<_> = refused
        .iter()
        .map(|line| line.decision.as_ref().unwrap().reason.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(reasons, ["in_progress", "traffic_control"]);
    for line in refused {
        assert_eq!(line.record, AuditRecord::Refused);
        assert_eq!((line.text("client"), line.text("class")), (Some("c1"), Some("viewer")), "{line:?}");
        assert_eq!(
            (&line.fields["uid"], &line.fields["sending"]["token_rate"]),
            (&7.into(), &125_000.into())
        );
    }
}

/// A kill ends no flow: the next run states what it has adopted, whose requests are in the run before, or in a file that is gone.
#[test]
fn what_is_held_and_does_not_fit_is_a_verdict_once() {
    let text = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Mbit/s\" }\n";
    let policy = Arc::new(Policy::parse(&[Source { name: "p.toml", text }]).unwrap().0);
    let header = |run: &str| {
        format!(
            r#"{{"at_us":0,"op":"audit","seq":1,"time":"","run":"{run}","version":"0","pid":1,"policy":{{"files":["p.toml"],"digest":"x"}}}}"#
        )
    };
    let reserve = |seq: u64, id: &str, held: bool| {
        let decision = match held {
            true => "\"held\":true",
            false => r#""decision":{"op":"reserve","ok":true,"reason":null,"message":"granted"}"#,
        };
        format!(
            r#"{{"at_us":1,"op":"reserve","seq":{seq},"id":"{id}","interface":"eth0","sending":{{"service_type":"guaranteed","token_rate":750000,"token_bucket_size":1500,"max_sdu_size":1500,"minimum_policed_size":64}},{decision}}}"#
        )
    };
    let verdicts = |lines: &[String]| {
        let mut replay = AuditReplay::new(Arc::clone(&policy));
        let mut listed = Vec::new();
        for line in lines {
            let replayed = replay.line(&AuditLine::read(line, &policy).unwrap());
            listed.extend(replayed.verdict().map(|verdict| verdict.id.clone()));
        }
        (listed, replay.comparison().refused_now, replay.comparison().without_end)
    };
    let later = [header("b"), reserve(2, "v1", true), reserve(3, "v2", true)];
    assert_eq!(verdicts(&later), (vec!["v1".into(), "v2".into()], 2, 0));
    let both = [&[header("a"), reserve(2, "v1", false)][..], &later].concat();
    assert_eq!(verdicts(&both), (vec!["v1".into(), "v2".into()], 2, 1));
}
