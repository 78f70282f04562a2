//! The methods, by their names, and calls whose parameters were read.

use super::json_text::JsonText;
use super::request::{
    AdoptCall, DrainCall, EgressCall, FlowId, FlowsCall, GetInterfaceDescription, GroupCall, Nothing,
    QueryCall, RefreshCall, ReleaseCall, RenegotiateCall, ReserveCall, StatusCall, UngroupCall, WaitCall,
};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($parameters:ty) = $full:literal;)*) => {
        /// A method of the control socket.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Method {
            $($(#[$doc])* $name,)*
        }

        /// A call whose parameters were read.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum MethodCall {
            $($(#[$doc])* $name($parameters),)*
        }

        impl Method {
            /// Every method.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The full name: `org.gqos.Reserve`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $full,)* }
            }

            /// Reads the parameters of a call.
            pub(super) fn read(self, parameters: &JsonText) -> serde_json::Result<MethodCall> {
                match self { $(Self::$name => parameters.read().map(MethodCall::$name),)* }
            }
        }

        impl MethodCall {
            /// The method that it calls.
            pub const fn method(&self) -> Method {
                match self { $(Self::$name(_) => Method::$name,)* }
            }

            /// The parameters of the call.
            pub(super) fn parameters(&self) -> Option<JsonText> {
                // Structs of texts and numbers, for which this does not fail.
                match self { $(Self::$name(parameters) => JsonText::of(parameters).ok(),)* }
            }
        }
    };
}

methods! {
    /// Reserves for a new flow.
    Reserve(Box<ReserveCall>) = "org.gqos.Reserve";
    /// The flow's peer has answered: its reservation is no longer provisional.
    Commit(FlowId) = "org.gqos.Commit";
    /// Asks for other flowspecs for a flow.
    Renegotiate(Box<RenegotiateCall>) = "org.gqos.Renegotiate";
    /// Prolongs a reservation with a time to live.
    Refresh(RefreshCall) = "org.gqos.Refresh";
    /// Ends a reservation or a wait.
    Release(ReleaseCall) = "org.gqos.Release";
    /// What is free, and when a flow would fit.
    Query(Box<QueryCall>) = "org.gqos.Query";
    /// The flowspecs that a request asks for by the policy.
    Renditions(Box<ReserveCall>) = "org.gqos.Renditions";
    /// A stream of notices about the caller's flows.
    Wait(WaitCall) = "org.gqos.Wait";
    /// Ties a reservation to the socket that comes with the call.
    Attach(FlowId) = "org.gqos.Attach";
    /// Ties a reservation to the socket of another process.
    Adopt(AdoptCall) = "org.gqos.Adopt";
    /// Makes a group.
    Group(Box<GroupCall>) = "org.gqos.Group";
    /// Ends a group once its last member has left.
    Ungroup(UngroupCall) = "org.gqos.Ungroup";
    /// The interface by which packets leave.
    Egress(EgressCall) = "org.gqos.Egress";
    /// A stream of the flows that hold reservations.
    Flows(FlowsCall) = "org.gqos.Flows";
    /// The state of the daemon and its interfaces.
    Status(StatusCall) = "org.gqos.Status";
    /// A stream of events.
    Events(Nothing) = "org.gqos.Events";
    /// Reads the policy's files again and uses them from now on.
    Reload(Nothing) = "org.gqos.Reload";
    /// What [`Reload`](Method::Reload) would change; changes nothing.
    Plan(Nothing) = "org.gqos.Plan";
    /// Refuses new flows from now on, or admits them again.
    Drain(DrainCall) = "org.gqos.Drain";
    /// What the service is. Source: varlink.org, `org.varlink.service`.
    GetInfo(Nothing) = "org.varlink.service.GetInfo";
    /// An interface in varlink's language.
    GetInterfaceDescription(GetInterfaceDescription) = "org.varlink.service.GetInterfaceDescription";
}

impl Method {
    /// The method of this full name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }

    /// The interface that it belongs to.
    pub fn interface(self) -> &'static str {
        self.name().rsplit_once('.').map_or("", |(interface, _)| interface)
    }

    /// Whether it answers with a stream of replies, and is called with `more`.
    pub const fn streams(self) -> bool {
        matches!(self, Self::Wait | Self::Events | Self::Flows)
    }

    /// Whether it is for root and the daemon's group alone.
    pub const fn is_administrative(self) -> bool {
        matches!(self, Self::Reload | Self::Plan | Self::Drain)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flowspec::{Bytes, Flowspec, Micros, Rate};
    use serde::Serialize;
    use serde_json::Value;

    use super::super::error::ControlError;
    use super::super::reply::*;
    use super::super::request::{RouteHints, RoutePorts};
    use super::super::{Decided, INTERFACE, INTERFACE_NAME};
    use super::*;
    use crate::admission::GroupDifference;

    /// The definitions of the interface file by their words: `method Reserve`, with the text from their name on.
    fn definitions(word: &str) -> BTreeMap<String, String> {
        let text: String =
            INTERFACE.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let starts = format!("\n{word} ");
        let parts: Vec<_> = text.split(&starts).skip(1).collect();
        let definition = |part: &&str| {
            let end = ["\nmethod ", "\nerror ", "\ntype "].iter().filter_map(|next| part.find(next)).min();
            let part = &part[..end.unwrap_or(part.len())];
            let (name, rest) = part.split_once(char::is_whitespace).unwrap();
            (name.trim().to_owned(), rest.trim().to_owned())
        };
        parts.iter().map(definition).collect()
    }

    /// The names of the fields in a list in parentheses.
    fn fields(list: &str) -> Vec<String> {
        let inside = list.trim().trim_start_matches('(').trim_end_matches(')');
        let mut names: Vec<_> = inside
            .split(": ")
            .map(|part| part.rsplit([',', '(', '\n', ' ']).next().unwrap().to_owned())
            .collect();
        names.pop();
        names.sort();
        names
    }

    fn keys(value: &impl Serialize) -> Vec<String> {
        let value = serde_json::to_value(value).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_interface_file_lists_exactly_the_methods() {
        assert!(INTERFACE.lines().any(|line| line == format!("interface {INTERFACE_NAME}")));
        let own = Method::ALL.iter().filter(|method| method.interface() == INTERFACE_NAME);
        let mut names: Vec<_> = own.map(|method| method.name().rsplit_once('.').unwrap().1).collect();
        names.sort_unstable();
        assert_eq!(definitions("method").keys().collect::<Vec<_>>(), names);
        for method in Method::ALL {
            assert_eq!(Method::named(method.name()), Some(*method));
        }
    }

    #[test]
    fn the_interface_file_lists_the_parameters_of_each_method() {
        let (id, flow) = (|| "v1".to_owned(), FlowId { id: "v1".into() });
        let requests = [
            MethodCall::Reserve(Box::default()),
            MethodCall::Commit(flow.clone()),
            MethodCall::Renegotiate(Box::default()),
            MethodCall::Refresh(RefreshCall { id: id(), ttl_us: Micros::new(1), details: None }),
            MethodCall::Release(ReleaseCall::default()),
            MethodCall::Query(Box::default()),
            MethodCall::Renditions(Box::default()),
            MethodCall::Wait(WaitCall::default()),
            MethodCall::Attach(flow),
            MethodCall::Adopt(AdoptCall { id: id(), pid: 1, fd: 3 }),
            MethodCall::Group(Box::default()),
            MethodCall::Ungroup(UngroupCall { id: id(), details: Some(true) }),
            MethodCall::Egress(EgressCall { peer: [192, 0, 2, 1].into(), route: None }),
            MethodCall::Flows(FlowsCall::default()),
            MethodCall::Status(StatusCall::default()),
            MethodCall::Events(Nothing {}),
            MethodCall::Reload(Nothing {}),
            MethodCall::Plan(Nothing {}),
            MethodCall::Drain(DrainCall::default()),
        ];
        let methods = definitions("method");
        for request in requests {
            let method = request.method();
            let (_, name) = method.name().rsplit_once('.').unwrap();
            // The parentheses stand apart from the name in the file.
            let (parameters, _) = methods[name].split_once("->").unwrap();
            assert_eq!(fields(parameters), keys(&request.parameters().unwrap()), "{name}");
            let call = super::super::Call::new(&request);
            assert_eq!(call.more, method.streams());
            assert_eq!(call.request(), Ok(request), "{name}");
        }
    }

    #[test]
    fn the_interface_file_lists_the_fields_of_each_type() {
        let types = definitions("type");
        let check = |name: &str, value: Vec<String>| assert_eq!(fields(&types[name]), value, "{name}");
        let ports = RoutePorts { protocol: 6, local: 1, peer: 2 };
        check("RouteHints", keys(&RouteHints::default()));
        check("RoutePorts", keys(&ports));
        check("GroupDifferenceRecord", keys(&difference()));
        check("TrafficRecord", keys(&TrafficRecord::default()));
        let spec = Flowspec {
            reserved_rate: Some(Rate::new(1)),
            ..Flowspec::guaranteed(Rate::new(1), Bytes::new(1))
        };
        let known = serde_json::to_value(spec).unwrap();
        for name in known.as_object().unwrap().keys() {
            assert!(fields(&types["Flowspec"]).contains(name), "{name}");
        }
        let methods = definitions("method");
        let check = |name: &str, value: Vec<String>| {
            let (_, reply) = methods[name].split_once("->").unwrap();
            let required: Vec<_> = fields(reply);
            assert!(value.iter().all(|key| required.contains(key)), "{name}: {value:?} and {required:?}");
        };
        check("Attach", keys(&Attached { cookie: 1, class: None, dscp: None }));
        check("Adopt", keys(&Attached { cookie: 1, class: None, dscp: None }));
        check("Events", keys(&EventBatch::default()));
        check("Flows", keys(&FlowBatch::default()));
        check("Egress", keys(&EgressReply { interface: "eth0".into(), line_rate: None }));
        check("Drain", keys(&DrainReply { draining: true, flows: 0 }));
        check("Reload", keys(&ReloadReply { changes: Value::Null }));
        check("Plan", keys(&ReloadReply { changes: Value::Null }));
        let decided = Decided { decision: None, admitted: None, epoch: None, details: None };
        for name in ["Reserve", "Renegotiate", "Refresh", "Query", "Group", "Ungroup"] {
            check(name, keys(&decided));
        }
        let status = StatusReply {
            version: String::new(),
            pid: 1,
            policy: Vec::new(),
            draining: false,
            connections: 0,
            flows: 0,
            confinement: None,
            refused: Default::default(),
            policy_classes: Vec::new(),
            groups: Vec::new(),
            group_differences: vec![difference()],
            interfaces: Vec::new(),
        };
        check("Status", keys(&status));
        check("Wait", keys(&ClientNotice::Overcommitted { interface: "eth0".into(), over: true }));
        check("Wait", keys(&ClientNotice::Capacity { id: "v1".into() }));
    }

    fn difference() -> GroupDifferenceRecord {
        let difference = GroupDifference::Removed;
        GroupDifferenceRecord { group: "g".into(), message: difference.to_string(), difference }
    }

    #[test]
    fn the_interface_file_lists_the_errors() {
        let listed = definitions("error");
        let own = [
            ControlError::NotPermitted { method: String::new() },
            ControlError::UnknownId { id: String::new() },
            ControlError::NotWaiting { id: String::new() },
            ControlError::LongName { field: String::new(), bytes: 1, most: 1 },
            ControlError::TooManyFlows { uid: 0, flows: 1 },
            ControlError::TooManyCalls { uid: 0, most_a_second: 1, retry_after_us: 1 },
            ControlError::TooManyRequests { limit: 1 },
            ControlError::TooManyConnections { connections: 1 },
            ControlError::Draining {},
            ControlError::Descriptor { problem: String::new() },
            ControlError::Kernel {
                failure: crate::failure::KernelCall("bind").failed("socket", flowspec::Errno::EPERM),
            },
            ControlError::InvalidPolicy { problems: Vec::new() },
            ControlError::UnsupportedPolicy { part: String::new() },
            ControlError::Faulted { refusal: crate::admission::Refusal::UnknownId { id: String::new() } },
            ControlError::Stopped {},
        ];
        assert_eq!(listed.len(), own.len());
        for error in own {
            let json = serde_json::to_value(&error).unwrap();
            let name = json["error"].as_str().unwrap().strip_prefix("org.gqos.").unwrap();
            assert_eq!(fields(&listed[name]), keys(&json["parameters"]), "{name}");
        }
    }
}
