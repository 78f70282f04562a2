//! The clients: honest ones, some that die and connect again, and some that break every rule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::{Asked, Connection, call};
use crate::kernel::{INTERFACES, name};
use crate::random::Random;
use crate::sockets::Kind;
use crate::world::World;

/// A program that reserves.
pub(crate) struct Client {
    pub(crate) uid: u32,
    pub(crate) is_administrator: bool,
    pub(crate) connection: Option<Connection>,
    /// What it believes to hold.
    pub(crate) flows: BTreeMap<String, OwnFlow>,
    pub(crate) sockets: BTreeSet<u64>,
    /// Connections with streams of notices and events.
    pub(crate) streams: Vec<Connection>,
    made: u64,
}

#[derive(Clone, Default)]
pub(crate) struct OwnFlow {
    pub(crate) epoch: Option<String>,
    pub(crate) interface: String,
}

/// Two programs of one user, one of another, and an administrator's.
const USERS: [u32; 5] = [1000, 1000, 1001, 1002, 0];

/// The rates that are asked for, in Mbit/s.
const RATES: [u64; 6] = [1, 5, 10, 20, 40, 61];

impl Client {
    pub(crate) fn all() -> Vec<Self> {
        let client = |uid| Self {
            uid,
            is_administrator: uid == 0,
            connection: None,
            flows: BTreeMap::new(),
            sockets: BTreeSet::new(),
            streams: Vec::new(),
            made: 0,
        };
        USERS.into_iter().map(client).collect()
    }

    /// The numbers of its connections that are open.
    pub(crate) fn open(&self) -> Vec<u32> {
        let streams = self.streams.iter().map(|stream| stream.number);
        streams.chain(self.connection.as_ref().map(|connection| connection.number)).collect()
    }

    fn own(&self, random: &mut Random) -> Option<String> {
        (!self.flows.is_empty()).then(|| {
            let at = random.index(self.flows.len());
            self.flows.keys().nth(at).unwrap().clone()
        })
    }
}

/// The group whose members share what the largest has.
pub(crate) const SHARED_GROUP: &str = "g2";

fn spec(random: &mut Random) -> Value {
    let service = random.pick(&["guaranteed", "controlled_load"]);
    let rate = random.pick(&RATES) * 125_000;
    json!({ "service_type": service, "token_rate": rate, "token_bucket_size": 16_384 })
}

impl World {
    /// A client that is connected makes a call.
    pub(crate) fn client_calls(&mut self, number: usize) {
        if self.clients[number].connection.is_none() {
            return;
        }
        let kind = self.random.below(24);
        let own = self.clients[number].own(&mut self.random);
        match (kind, own) {
            (0..=8, _) => self.reserve(number, None),
            (9..=10, Some(id)) => self.call(number, Asked::Other, "Commit", json!({ "id": id })),
            (11..=14, Some(id)) => self.attach(number, &id),
            (15..=16, Some(id)) => {
                self.promises.doubt(&id);
                self.call(number, Asked::Release { id: id.clone() }, "Release", json!({ "id": id }));
            }
            (17, Some(id)) => {
                let sending = spec(&mut self.random);
                self.call(number, Asked::Other, "Renegotiate", json!({ "id": id, "sending": sending }));
            }
            (18, Some(id)) => {
                let ttl = 1_000_000 * (1 + self.random.below(30));
                self.checks.mortal.insert(id.clone());
                self.call(number, Asked::Other, "Refresh", json!({ "id": id, "ttl_us": ttl }));
            }
            (19, _) => self.call(number, Asked::Flows, "Flows", json!({})),
            (20, _) => self.group(number),
            (21, _) => {
                let interface = name(self.random.pick(&INTERFACES));
                let sending = spec(&mut self.random);
                self.call(
                    number,
                    Asked::Other,
                    "Query",
                    json!({ "interface": interface, "sending": sending }),
                );
            }
            (22, _) => self.call(number, Asked::Other, "Egress", json!({ "peer": "10.0.1.1" })),
            _ => self.of_another(number),
        }
    }

    /// Reserves a new flow, or claims one again.
    pub(crate) fn reserve(&mut self, number: usize, claimed: Option<String>) {
        let client = &mut self.clients[number];
        client.made += 1;
        let id = match claimed {
            Some(id) => id,
            // An id that the client has already.
            None if self.random.one_in(12) => match client.own(&mut self.random) {
                Some(id) => id,
                None => return,
            },
            None => format!("f{number}-{}", client.made),
        };
        let known = client.flows.get(&id).cloned();
        let interface = match &known {
            Some(known) => known.interface.clone(),
            None => name(self.random.pick(&INTERFACES)),
        };
        let mut asked = json!({ "id": id, "interface": interface, "sending": spec(&mut self.random) });
        if let Some(epoch) = known.and_then(|known| known.epoch) {
            asked["epoch"] = json!(epoch);
        }
        if self.random.one_in(3) {
            asked["class"] = json!(self.random.pick(&["viewer", "studio", "capped"]));
        } else if self.random.one_in(8) {
            asked["group"] = json!(format!("g{}", self.random.below(3)));
        }
        if self.random.one_in(5) {
            asked["client"] = json!("c1");
        }
        if self.random.one_in(10) {
            self.checks.mortal.insert(id.clone());
            asked["ttl_us"] = json!(1_000_000 * (1 + self.random.below(30)));
        }
        if self.random.one_in(8) {
            asked["wait"] = json!(true);
        }
        self.clients[number].flows.entry(id.clone()).or_insert(OwnFlow { epoch: None, interface });
        self.call(number, Asked::Reserve { id }, "Reserve", asked);
    }

    /// Passes a socket: most often one of its own, or a new one; else one that cannot be used.
    fn attach(&mut self, number: usize, id: &str) {
        let cookie = match self.random.below(10) {
            0 => self.sockets.open(Kind::File),
            1 => self.sockets.open(self.random.pick(&[Kind::Listening, Kind::OtherNamespace])),
            2..=4 if !self.clients[number].sockets.is_empty() => {
                let sockets: Vec<_> = self.clients[number].sockets.iter().copied().collect();
                self.random.pick(&sockets)
            }
            // A socket of another client, which has passed it on.
            5 => match self.sockets.any(&mut self.random) {
                Some(cookie) => cookie,
                None => return,
            },
            _ => self.sockets.open(Kind::Socket { is_bound: !self.random.one_in(4) }),
        };
        if !self.clients.iter().any(|client| client.sockets.contains(&cookie)) {
            self.clients[number].sockets.insert(cookie);
        }
        self.promises.doubt(id);
        let asked = Asked::Attach { id: id.to_owned(), cookie };
        let Some(descriptor) = self.sockets.descriptor(cookie) else { return };
        let call = call("Attach", json!({ "id": id }));
        self.log.line(format_args!("client {number}: {asked:?}"));
        let connection = self.clients[number].connection.as_mut().unwrap();
        connection.call(&mut self.random, (asked, &call), Some(descriptor));
    }

    fn group(&mut self, number: usize) {
        let id = format!("g{}", self.random.below(3));
        if self.random.one_in(3) {
            return self.call(number, Asked::Other, "Ungroup", json!({ "id": id }));
        }
        let interface = name(self.random.pick(&INTERFACES));
        let mode = if id == SHARED_GROUP { "shared" } else { "envelope" };
        let sending = spec(&mut self.random);
        let group = json!({ "id": id, "interface": interface, "mode": mode, "sending": sending });
        self.call(number, Asked::Other, "Group", group);
    }

    /// Tries what only the owner of a flow may do.
    fn of_another(&mut self, number: usize) {
        let uid = self.clients[number].uid;
        let others: Vec<String> = self
            .promises
            .0
            .iter()
            .filter(|(_, promise)| promise.uid != uid && uid != 0)
            .map(|(id, _)| id.clone())
            .collect();
        if others.is_empty() {
            return;
        }
        let id = others[self.random.index(others.len())].clone();
        let asked = Asked::OfAnother { id: id.clone() };
        match self.random.below(4) {
            0 => self.call(number, asked, "Release", json!({ "id": id })),
            1 => self.call(number, asked, "Commit", json!({ "id": id })),
            2 => {
                let sending = spec(&mut self.random);
                self.call(number, asked, "Renegotiate", json!({ "id": id, "sending": sending }));
            }
            _ => self.call(number, asked, "Refresh", json!({ "id": id, "ttl_us": 1 })),
        }
    }

    /// Breaks a rule of the protocol.
    pub(crate) fn misbehave(&mut self, number: usize) {
        let Some(connection) = &mut self.clients[number].connection else { return };
        // The daemon may end the connection, which a client that does not read does not see.
        self.promises.doubt_all(connection.number);
        let kind = self.random.below(7);
        self.log.line(format_args!("client {number}: breaks rule {kind}"));
        match kind {
            0 => connection.stall(),
            1 => connection.is_deaf = true,
            2 => connection.bytes(vec![b'x'; 70_000], None),
            3 => connection.bytes(vec![b'['; 40].into_iter().chain([0]).collect(), None),
            4 => connection.bytes(b"{\"method\": 1}\0".to_vec(), None),
            5 => connection.bytes(b"\0".to_vec(), None),
            _ => {
                // A descriptor with a call that takes none.
                let cookie = self.sockets.open(Kind::File);
                let descriptor = self.sockets.descriptor(cookie);
                let call = call("Query", json!({ "interface": "eth1" }));
                connection.call(&mut self.random, (Asked::Other, &call), descriptor);
                self.sockets.close(cookie);
            }
        }
    }

    pub(crate) fn call(&mut self, number: usize, asked: Asked, method: &str, parameters: Value) {
        self.log.line(format_args!("client {number}: {method} {parameters}"));
        let call = call(method, parameters);
        if let Some(connection) = &mut self.clients[number].connection {
            connection.call(&mut self.random, (asked, &call), None);
        }
    }
}
