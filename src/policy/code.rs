//! The stable codes of problems: one table with the id, the severity and the explanation of each.

/// Whether a policy with a problem can be used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, but is probably not what its author meant.
    Warning,
}

macro_rules! codes {
    ($($variant:ident = $id:literal, $severity:ident, $title:literal, $explanation:literal;)*) => {
        /// The stable code of a kind of problem.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Code {
            $(
                #[doc = concat!("`", $id, "`: ", $title, ".")]
                $variant,
            )*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it is printed. A code is never reused for another kind of problem.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// The kind of problem in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What the problem means and how to correct it.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)* }
            }

            /// Whether a policy with this problem can be used.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Syntax = "GQ0001", Error, "the text is not TOML",
        "The TOML parser stopped: for instance, a quote, a bracket or a comma is missing, or a table is defined\n\
         twice. The rest of the file is not checked until it parses.";
    UnknownKey = "GQ0002", Error, "an unknown key",
        "Unknown keys are errors and not ignored, because a misspelt limit would be no limit.\n\
         The nearest known key is suggested; docs/POLICY.md lists all keys.";
    WrongType = "GQ0003", Error, "a value of the wrong type",
        "For example a table in place of a string, or a number in place of a boolean. A quantity is a string with\n\
         a unit: capacity = \"1 Gbit/s\", not capacity = 1000000000.";
    MissingKey = "GQ0004", Error, "a required key is missing",
        "The key has no default that would be right for every host: the capacity of a link, the token rate of a\n\
         flow that sends with a reservation, the interface of a group.";
    BadUnit = "GQ0005", Error, "a quantity that cannot be read in exactly one way",
        "\"6 Mbps\" may mean megabits or megabytes, \"64k\" may mean 64000 or 65536.\n\
         Write rates as bit/s, kbit/s, Mbit/s, Gbit/s or B/s, kB/s, MB/s, GB/s (powers of 1000) or KiB/s, MiB/s,\n\
         GiB/s (powers of 1024); sizes as B, kB, MB, KiB, MiB; times as us, ms, s, min, h; shares as \"80%\" or a\n\
         rate.";
    BadValue = "GQ0006", Error, "a value that is not allowed",
        "The value has the right type and is outside the allowed values; the message lists the allowed values.";
    UnknownName = "GQ0007", Error, "a name that is not defined",
        "A rule, a group or a test names an interface, a class, a group or a template that is not defined, or a test names\n\
         a flow that it does not open, or a reason or an error that no decision has. The nearest name is suggested.";
    BadFlowspec = "GQ0008", Error, "a flowspec that contradicts itself",
        "No traffic can conform to it, or nothing can be reserved for it: a rate or size of zero, a peak rate below\n\
         the token rate (p < r), a smallest packet above the largest (m > M), a bucket smaller than a full packet\n\
         (b < M), guaranteed service with a latency of zero. docs/FLOWSPEC.md lists the rules.";
    Duplicate = "GQ0009", Error, "a second definition",
        "Several files merge into one policy, and no definition overrides another: each thing is defined once.\n\
         Both places are shown.";
    Version = "GQ0010", Error, "an unknown version of the format",
        "The only version of the format is version = 1.";
    Conflict = "GQ0011", Error, "keys that exclude each other",
        "Two keys state the same quantity in different ways (token_rate and goodput), or cannot both hold (with a\n\
         setup priority better than the holding priority, two flows could displace each other for ever).";
    BadName = "GQ0012", Error, "a name that no interface can have",
        "An interface name has 1 to 15 bytes, without white space, '/', ':' and '%', and is not \".\" or \"..\": the kernel\n\
         allows no other. \"*\" alone stands for every interface that has no table of its own; it is not part of a\n\
         pattern. A name with a dot needs quotes in a table's header: [interface.\"ens192.190\"].";
    UnusablePolicy = "GQ0013", Error, "a policy that cannot be used",
        "A test file names a policy by its path relative to the file. The policy cannot be read, or has errors, which are\n\
         reported as well; the tests of the file are not run.";
    Unreadable = "GQ0014", Error, "a file that cannot be read",
        "The operating system refused to open or read the file, or it is not text in UTF-8. The message has the call, the\n\
         path and the error. The other files are checked all the same, except for names that this one may define.";
    ListenedTwice = "GQ0015", Error, "two proxies that listen on one address",
        "Only one of them could start. The address is the same, or one of them takes every address of the host\n\
         (0.0.0.0 or [::]). Give each [proxy.NAME] a port or an address of its own, or make one proxy of the two with rules.";
    ProxyCircle = "GQ0016", Error, "a proxy that is its own origin",
        "Each connection of a client would lead to another one, until none is left: to is the address on which the\n\
         proxy listens, or that of a proxy whose origin leads back to it. Write the address of the origin.";
    Overcommitted = "GQ0101", Warning, "too little is left for link headers and best-effort traffic",
        "Reservations count IP bytes. On the link each packet also has a link header, and lost packets are sent\n\
         again; traffic without a reservation, such as name look-ups and routing, needs a part as well. No more than\n\
         82 % of the capacity (64 of 78 bytes) can be reserved safely; the default is 80 %.";
    GroupTooLarge = "GQ0102", Warning, "a group that does not fit",
        "Even if no flow is admitted, the group is refused for the stated reason: what it reserves does not fit beside\n\
         the groups before it, or no interface of these parameters can keep its flowspec. Such a group is not\n\
         created, and requests of its members are refused.";
    SmallBucket = "GQ0103", Warning, "a bucket smaller than a full packet",
        "With a bucket below the MTU (1500 bytes unless the interface says otherwise) and no max_sdu_size, the\n\
         largest packet of the flow is as small as its bucket, and TCP sends many small segments. Use a larger\n\
         bucket (for media, 50 to 100 ms at the flow's rate), or set max_sdu_size.";
    ShadowedRule = "GQ0104", Warning, "a rule that no flow reaches",
        "The first rule that matches applies, of [[rule]] as of the rules of a proxy. An earlier rule, or several together,\n\
         match everything that this one matches: move this rule before them, or remove it.";
    UnusedClass = "GQ0105", Warning, "a class that no rule, no group and no proxy assigns",
        "The policy has rules, and neither a rule nor a group nor a proxy assigns this class: only a request that names it uses\n\
         it. If that is intended, ignore the warning.";
    NeverFits = "GQ0106", Warning, "a template that no interface admits",
        "An empty ledger refuses the template on every interface of the policy, with each class and without one. The message\n\
         has the reason for each interface; reason = \"delay\" means that no delay bound is proven: the interface needs\n\
         max_flows and buffer, or error_terms (docs/POLICY.md, Delay bounds).";
    VirtualSpeed = "GQ0107", Warning, "the made-up speed of a virtual link",
        "capacity = \"auto\" takes the speed that the kernel reports in /sys/class/net/NAME/speed. A virtual link (veth, tap,\n\
         bridge, bond, VLAN) reports a constant of its driver or the speed of another link: a veth pair reports 10 Gbit/s\n\
         whatever it can carry. State the capacity as a rate.";
    ZeroCapacity = "GQ0108", Warning, "an interface on which nothing can be reserved",
        "A capacity or a reservable of zero, or a min_best_effort that keeps all of the capacity: every request that reserves\n\
         something in this direction is refused as interface_budget. State the rate of the link and what of it is\n\
         reservable, or leave the direction out: the other one serves for both. With max_flows = 0 on the interface every\n\
         such request is refused as interface_flows; leave max_flows out for no limit. With buffer = \"0 B\" every such request is refused as buffer, because each flow\n\
         needs at least its bucket; leave buffer out for no limit.";
    LargeBucket = "GQ0109", Warning, "a bucket of many seconds of its rate",
        "After a pause the flow may send the whole bucket at the speed of the link, and a slower link behind it drops what\n\
         its queue cannot hold. 50 to 100 ms at the flow's own rate is a good choice for media.";
    RuleRefused = "GQ0110", Warning, "a rule whose flows are always refused",
        "The template alone could be admitted; with the class or the group that the rule gives, or beside what the\n\
         policy's groups reserve, it is refused even if no flow is admitted: for instance, it asks for more than the\n\
         class's max_rate. The message has the reason for each interface. The templates of a proxy and\n\
         of its rules are tried in the same way.";
    HastyTimeout = "GQ0111", Warning, "a timeout so short that it ends flows whose peers respond",
        "A flow loses its reservation after this time. A viewer that changes networks is silent for some seconds\n\
         (dead_after), and a player with a full buffer reads nothing until part of it is played (stalled_after).\n\
         The defaults are 30 s and 60 s; \"off\" switches a timeout off.";
    SearchEnded = "GQ0112", Warning, "too many combinations: not every template was tried",
        "gqos check tries each template on each interface that differs, without a class and in each class that differs, and\n\
         each template of a rule in the rule's class and group. It ends after 200000 requests: GQ0106 and GQ0110 may be\n\
         missing for the templates and rules from this place on. Templates that one interface admits cost one request.";
    SharedWire = "GQ0113", Warning, "interfaces that share a wire without a parent",
        "The kernel sends the packets of one of the interfaces by the other one (a VLAN or a macvlan and its device, a\n\
         bridge and its port, a bond and its members). Each has a budget, and together these may exceed the wire. Name the\n\
         interface below as the parent of the one above, [interface.\"eth0.10\"] parent = \"eth0\": what is reserved above is\n\
         then reserved below as well.";
    PortOfAnother = "GQ0114", Warning, "a port of a bridge or a bond that has no table itself",
        "Packets do not leave by a port of a bridge or by a member of a bond as far as routes say, but by the bridge or the\n\
         bond: a flow is refused as unknown_interface where the policy has no table for that. Define it, and for a bridge name\n\
         the port as its parent: [interface.br0] parent = \"eth0\".";
    DoubtfulCondition = "GQ0115", Warning, "a condition of a proxy's rule that hardly any client meets",
        "A path is compared decoded and without its query: '?' and '#' stand in it only where the client wrote them as\n\
         escapes. port is the port to which the client connects; that of the listener is the same for all clients of a\n\
         proxy, except where a PROXY protocol header states another.";
    ShadowedClient = "GQ0116", Warning, "limits of clients that count for no client",
        "The first [client.PATTERN] whose pattern matches the name of a client applies, in the order of the files. An earlier\n\
         pattern, for instance \"*\", matches every name that this one matches: move this table before that one.";
    UnreachedClass = "GQ0117", Warning, "a class that no owner gets",
        "A request that names no class gets the first class, in the order of the files, whose match conditions its owner\n\
         meets. Every owner that meets these conditions meets those of an earlier class, or of one of several: only a request\n\
         that names the class uses it. Move it before the earlier class, or remove its match.";
    AboveParent = "GQ0118", Warning, "an interface of which more is reservable than of its parent",
        "What is reserved of an interface is reserved of its parent as well, and both limits hold: more than the parent's\n\
         reservable rate can never be reserved. Lower the capacity or the reservable of the interface, or correct those of\n\
         the parent.";
    VrfInterface = "GQ0119", Warning, "an interface that is a VRF",
        "A VRF is a table of routes. A flow of a socket in the VRF is reserved on the interface by which its packets leave,\n\
         that is one of those in the VRF; the VRF's own budget is that of traffic to addresses of this host. gqos programs no\n\
         classes on it: with a qdisc of its own, a VRF sends each packet of its interfaces through that first. Define the\n\
         interfaces in the VRF.";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}
