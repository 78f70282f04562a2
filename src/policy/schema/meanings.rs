//! What each key of a policy file means, and its default, for the JSON schema.

use super::meaning::Meaning;

/// Meanings by table and key. The keys of a flowspec have one entry for all tables.
pub(super) const MEANINGS: &[(&str, &[Meaning])] = &[
    (
        "",
        &[
            Meaning::new("version", "The version of the format."),
            Meaning::with_default(
                "preemption",
                "Whether a new flow may displace flows whose holding priority is worse than its setup priority.",
                "false",
            ),
            Meaning::with_default(
                "dead_after",
                "How long a flow keeps its reservation without an answer of its peer.",
                "\"30 s\"",
            ),
            Meaning::with_default(
                "stalled_after",
                "How long a flow keeps its reservation while its peer accepts no data.",
                "\"60 s\"",
            ),
            Meaning::new(
                "interface",
                "Interfaces by name: what may be reserved on each. \"*\" is every other interface.",
            ),
            Meaning::new("template", "Named flowspecs for both directions."),
            Meaning::new("class", "Kinds of flows: the share, the limits and the marks of each."),
            Meaning::new("group", "Reservations that several flows share."),
            Meaning::new(
                "client",
                "Limits for each client whose name matches the pattern; the first pattern applies.",
            ),
            Meaning::new("daemon", "How the daemon is reached, and what one user may take of it."),
            Meaning::new(
                "rule",
                "What a flow gets whose caller names neither template nor flowspec; the first match applies.",
            ),
            Meaning::new("proxy", "Listeners in front of unmodified origins, for gqos proxy."),
        ],
    ),
    (
        "interface.*",
        &[
            Meaning::new("egress", "The sending direction; serves for both if ingress is absent."),
            Meaning::new("ingress", "The receiving direction; serves for both if egress is absent."),
            Meaning::with_default(
                "enforcement",
                "auto: by tc and in user space, or in user space alone where tc cannot be programmed; kernel: requests are refused where tc cannot be programmed; user-space: in user space alone.",
                "\"auto\"",
            ),
            Meaning::with_default(
                "shared",
                "While another gqos manages the interface: refuse reservations, or enforce them in user space, where both reserve the whole budget.",
                "\"refuse\"",
            ),
            Meaning::with_default(
                "on_capacity_drop",
                "When the capacity falls below what is reserved: keep all flows, or shed the least important ones.",
                "\"keep\"",
            ),
            Meaning::with_default(
                "class_model",
                "How classes share the budget (RFC 4125, 4127, 4126).",
                "\"mam\"",
            ),
            Meaning::with_default(
                "mar_threshold",
                "The part of the budget that class_model = \"mar\" keeps free.",
                "\"1%\"",
            ),
            Meaning::new("mtu", "The largest IP datagram; the kernel's value if absent."),
            Meaning::with_default(
                "path_latency",
                "The delay that the path adds to every packet; it is subtracted from latency.",
                "\"0 us\"",
            ),
            Meaning::new("max_flows", "The most flows, best effort included; no limit if absent."),
            Meaning::new(
                "buffer",
                "The most that the buffer needs of all flows may come to, per direction; no limit if absent.",
            ),
            Meaning::with_default(
                "delay",
                "Whether latency and delay_variation are part of the admission test.",
                "true",
            ),
            Meaning::new(
                "error_terms",
                "The error terms C and D of the path (RFC 2212), in place of those derived from the tree.",
            ),
            Meaning::with_default("takeover", "Whether a foreign root qdisc may be replaced.", "false"),
            Meaning::new("hysteresis", "Damping for a link whose capacity changes often; none if absent."),
            Meaning::new(
                "parent",
                "The interface on whose wire this one sends: what is reserved here is reserved there as well. None if absent.",
            ),
        ],
    ),
    ("interface.*.egress", BUDGET),
    ("interface.*.ingress", BUDGET),
    (
        "interface.*.error_terms",
        &[
            Meaning::new("c", "C: the rate-dependent error term."),
            Meaning::new("d", "D: the error term that does not depend on the rate."),
        ],
    ),
    (
        "interface.*.hysteresis",
        &[
            Meaning::with_default(
                "time",
                "How long a higher capacity has to last before it takes effect.",
                "\"5 s\"",
            ),
            Meaning::with_default(
                "change",
                "No flow is shed for a smaller drop than this part of the capacity.",
                "\"5%\"",
            ),
        ],
    ),
    ("template.*", BOTH_DIRECTIONS),
    (
        "class.*",
        &[
            Meaning::with_default(
                "share",
                "How much of the budget the class's flows may hold together, per direction.",
                "\"100%\"",
            ),
            Meaning::new(
                "max_flows",
                "The most flows on one interface, best effort included; no limit if absent.",
            ),
            Meaning::new("max_rate", "The most that one flow may be charged; no limit if absent."),
            Meaning::new(
                "overbooking",
                "Controlled load is charged its rate divided by this factor; with measured admission it limits the gain. The default is 1.0, or 2.0 with admission = \"measured\".",
            ),
            Meaning::with_default(
                "setup_priority",
                "From 0 (best) to 7; not better than holding_priority.",
                "4",
            ),
            Meaning::new("holding_priority", "From 0 (best) to 7; the setup priority if absent."),
            Meaning::with_default(
                "class_type",
                "The class's position in the Russian dolls model, 0 the outermost.",
                "0",
            ),
            Meaning::with_default(
                "allocate",
                "Which rate a flow is charged: that of its service, or its peak.",
                "\"rate\"",
            ),
            Meaning::with_default(
                "admission",
                "Whether controlled load counts as declared or as measured.",
                "\"declared\"",
            ),
            Meaning::new("match", "Conditions on the owner of a flow; every owner if absent."),
            Meaning::new(
                "dscp",
                "The code point of the class's packets, by name or number; unmarked if absent.",
            ),
            Meaning::new(
                "dead_after",
                "How long its flows keep their reservations without an answer of the peer; the policy's value if absent.",
            ),
            Meaning::new(
                "stalled_after",
                "How long its flows keep their reservations while the peer accepts no data; the policy's value if absent.",
            ),
        ],
    ),
    (
        "class.*.match",
        &[
            Meaning::new("uid", "User ids and ranges of them."),
            Meaning::new("gid", "Group ids and ranges of them."),
            Meaning::new("cgroup", "Control groups, each with all groups below it."),
        ],
    ),
    (
        "group.*",
        &[
            Meaning::new("interface", "The only interface that the members may use."),
            Meaning::new("class", "The class whose share is charged; none if absent."),
            Meaning::with_default(
                "mode",
                "envelope: reserved from the start and spent by the members; shared: the link is charged the largest member.",
                "\"envelope\"",
            ),
            Meaning::new("sending", "The flowspec of the sending direction; best effort if absent."),
            Meaning::new("receiving", "The flowspec of the receiving direction; best effort if absent."),
        ],
    ),
    (
        "daemon",
        &[
            Meaning::with_default(
                "socket",
                "The absolute path of the control socket, unless the command line names another.",
                "\"/run/gqos/gqos.sock\"",
            ),
            Meaning::new(
                "group",
                "The group whose members may call administrative methods, beside root; root alone if absent.",
            ),
            Meaning::with_default("connections_per_user", "The most connections of one user.", "64"),
            Meaning::with_default("flows_per_user", "The most reservations that one user may hold.", "4096"),
            Meaning::with_default("calls_per_second", "The most calls of one user per second.", "20000"),
            Meaning::with_default(
                "grace",
                "How long reservations of a daemon that was killed wait for their clients, after the next one has started.",
                "\"30 s\"",
            ),
            Meaning::with_default(
                "degrade",
                "What connections get while no daemon answers: refuse fails them with WSAENETDOWN, best_effort makes them without a reservation, local-bucket paces them in user space without one.",
                "\"refuse\"",
            ),
            Meaning::new(
                "http",
                "Where metrics, health and the status page are served by HTTP: a loopback address with a port, or the absolute path of a socket; nowhere if absent.",
            ),
            Meaning::new(
                "audit",
                "The audit log: the absolute path of its file, or a table with its limits; none is written if absent.",
            ),
        ],
    ),
    (
        "daemon.audit",
        &[
            Meaning::new("path", "The absolute path of the file that is written."),
            Meaning::with_default(
                "max_size",
                "How much is written to a file before the next one begins.",
                "\"64 MiB\"",
            ),
            Meaning::with_default("max_age", "How long a file is written to.", "\"24 h\""),
            Meaning::with_default("keep", "How many files are kept besides the one that is written.", "14"),
        ],
    ),
    (
        "client.*",
        &[
            Meaning::new("max_flows", "The most flows of one client; no limit if absent."),
            Meaning::new(
                "max_rate",
                "The most that its flows may be charged together, per direction; no limit if absent.",
            ),
            Meaning::new(
                "requests_per_second",
                "The most requests per second, refused ones included; no limit if absent.",
            ),
            Meaning::new("horizon", "How far ahead a flow may be booked; no limit if absent."),
            Meaning::new(
                "best_setup_priority",
                "The best setup priority that a request may name; 0 if absent.",
            ),
            Meaning::new(
                "dead_after",
                "How long its flows keep their reservations without an answer of the peer; the policy's value if absent.",
            ),
            Meaning::new(
                "stalled_after",
                "How long its flows keep their reservations while the peer accepts no data; the policy's value if absent.",
            ),
        ],
    ),
    (
        "rule",
        &[
            Meaning::new("match", "Conditions on the flow; every flow if absent."),
            Meaning::new("class", "The class of the flow, unless its caller names one."),
            Meaning::new(
                "group",
                "The group whose reservation the flow shares; the rule then applies on the group's interface only.",
            ),
            Meaning::new(
                "template",
                "The template that gives the flowspecs, or several, best first: the flow gets the first that fits.",
            ),
        ],
    ),
    (
        "rule.match",
        &[
            Meaning::new("protocol", "The transport protocol; any if absent."),
            Meaning::new("local_port", "Local ports and ranges of them; any if absent."),
            Meaning::new("peer", "Networks and addresses of the peer; any if absent."),
        ],
    ),
    (
        "proxy.*",
        &[
            Meaning::new("listen", "The address and port where clients connect."),
            Meaning::new("to", "The origin: a host name or an address, a colon and a port."),
            Meaning::with_default(
                "protocol",
                "What clients speak: what is read of it decides which conditions a rule may have.",
                "\"tcp\"",
            ),
            Meaning::new("class", "The class of connections that no rule gives another; none if absent."),
            Meaning::new(
                "template",
                "The template of connections without a rule, or several, best first; the policy's rules decide if absent.",
            ),
            Meaning::new(
                "rule",
                "What connections and requests get that meet conditions; the first match applies.",
            ),
            Meaning::new(
                "refuse",
                "How a refused client is answered. The default is 503 by HTTP, 453 by RTSP, and close otherwise.",
            ),
            Meaning::with_default("retry_after", "What a refused client is told to wait.", "\"5 s\""),
            Meaning::new("page", "The file that a refusal by HTTP sends; the decision as JSON if absent."),
            Meaning::new("proxy_protocol", "PROXY protocol headers; none are read or sent if absent."),
            Meaning::new("limits", "Bounds on what clients may use."),
            Meaning::with_default(
                "splice",
                "Whether data that is not read on its way stays in the kernel, by splice(2); false copies it.",
                "true",
            ),
            Meaning::new("workers", "The most threads that serve it; all of them if absent."),
        ],
    ),
    (
        "proxy.*.rule",
        &[
            Meaning::new("match", "Conditions on the connection or the request; every one if absent."),
            Meaning::new("class", "The class of the flow; the proxy's if absent."),
            Meaning::new("template", "The template that gives the flowspecs, or several, best first."),
        ],
    ),
    (
        "proxy.*.rule.match",
        &[
            Meaning::new("host", "Patterns of the request's host name; any if absent."),
            Meaning::new(
                "path",
                "Patterns of the request's path, decoded and without its query; any if absent.",
            ),
            Meaning::new("sni", "Patterns of the server name in the ClientHello; any if absent."),
            Meaning::new("peer", "Networks and addresses of the client; any if absent."),
            Meaning::new("port", "Ports that the client has connected to and ranges of them; any if absent."),
        ],
    ),
    (
        "proxy.*.proxy_protocol",
        &[
            Meaning::new(
                "accept",
                "Networks of load balancers: connections from them begin with a header, and no others.",
            ),
            Meaning::new("send", "The version of the header that the origin gets; none if absent."),
        ],
    ),
    (
        "proxy.*.limits",
        &[
            Meaning::with_default(
                "head",
                "The most bytes of a request head or of a ClientHello.",
                "\"16 KiB\"",
            ),
            Meaning::with_default(
                "first_byte",
                "How long a new connection may send nothing, where it has to.",
                "\"30 s\"",
            ),
            Meaning::with_default(
                "head_time",
                "How long a head may take from its first byte on.",
                "\"10 s\"",
            ),
            Meaning::with_default(
                "connect_time",
                "How long the origin may take to accept a connection.",
                "\"5 s\"",
            ),
            Meaning::with_default(
                "idle",
                "How long nothing may pass in either direction; 60 s for datagrams.",
                "\"10 min\"",
            ),
            Meaning::with_default(
                "connections",
                "The most connections at a time; sessions of datagrams likewise.",
                "10000",
            ),
            Meaning::with_default("drain", "How long connections may go on after SIGTERM.", "\"30 s\""),
        ],
    ),
];

const BUDGET: &[Meaning] = &[
    Meaning::new("capacity", "What the link carries; \"auto\" is the speed that the kernel reports."),
    Meaning::with_default("reservable", "The part of the capacity that may be reserved.", "\"80%\""),
    Meaning::new("min_best_effort", "What is never reserved, whatever reservable says; nothing if absent."),
];

const BOTH_DIRECTIONS: &[Meaning] = &[
    Meaning::new("sending", "The flowspec of the sending direction; best effort if absent."),
    Meaning::new("receiving", "The flowspec of the receiving direction; best effort if absent."),
];

/// The keys of a flowspec, wherever it stands.
pub(crate) const FLOWSPEC: &[Meaning] = &[
    Meaning::new("service_type", "The service that is asked for."),
    Meaning::new(
        "token_rate",
        "r, the sustained rate. Required to reserve when sending; nothing is reserved when receiving if absent.",
    ),
    Meaning::new("goodput", "A payload rate in place of token_rate: the headers are added."),
    Meaning::new(
        "token_bucket_size",
        "b, what may be sent at once after a pause; the larger of the MTU and M if absent.",
    ),
    Meaning::with_default("peak_bandwidth", "p, the highest rate within a burst.", "\"infinite\""),
    Meaning::new("latency", "The delay bound of a guaranteed flow; none if absent."),
    Meaning::new(
        "delay_variation",
        "The bound on the variation of the delay of a guaranteed flow; none if absent.",
    ),
    Meaning::new("max_sdu_size", "M, the largest packet; the MTU if absent, but at most an explicit bucket."),
    Meaning::new(
        "minimum_policed_size",
        "m, the least that a packet counts as; the smaller of 64 B and M if absent.",
    ),
    Meaning::new(
        "reserved_rate",
        "R, the rate to reserve for a guaranteed flow that wants more than its delay bound needs.",
    ),
];
