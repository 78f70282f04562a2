//! What each key of a test file means, and its default, for the JSON schema.

use crate::policy::schema::meaning::Meaning;

/// Meanings by table and key.
pub(super) const MEANINGS: &[(&str, &[Meaning])] = &[
    (
        "",
        &[
            Meaning::new(
                "policy",
                "The path of the policy, relative to this file; a test may name another one.",
            ),
            Meaning::new("test", "The tests."),
        ],
    ),
    (
        "test",
        &[
            Meaning::new("name", "The name, unique in the file."),
            Meaning::new("tags", "Tags, for gqos test --tag."),
            Meaning::new("policy", "The path of this test's own policy."),
            Meaning::new("step", "What happens, in order."),
        ],
    ),
    (
        "test.step",
        &[
            Meaning::new("at", "The virtual time of the step, from the start of the test."),
            Meaning::with_default("after", "The time since the step before.", "\"0 s\""),
            Meaning::new("connect", "Flows ask for reservations, one after the other."),
            Meaning::new("accept", "The same as connect."),
            Meaning::new("query", "Whether a flow would fit: nothing is reserved."),
            Meaning::new("renegotiate", "Flows ask for other reservations."),
            Meaning::new("refresh", "Flows extend their soft state."),
            Meaning::new("close", "Flows end."),
            Meaning::new("crash", "All flows of this client end."),
            Meaning::new("group", "A group is made or changed."),
            Meaning::new("ungroup", "A group ends, with its last member where it has some."),
            Meaning::new("peer", "What is seen of the peers of flows."),
            Meaning::new("capacity", "The capacity of a link changes."),
            Meaning::new("measure", "The flows of a class with measured admission were measured."),
            Meaning::new("transfer", "A flow sends and is measured, with gqos test --lab."),
            Meaning::new("reload", "Another policy takes effect, by its path relative to this file."),
            Meaning::new("wait", "Time passes."),
            Meaning::new("expect", "What is compared after the step; absent keys are not."),
        ],
    ),
    ("test.step.connect", CONNECT),
    ("test.step.accept", CONNECT),
    ("test.step.query", QUERY),
    (
        "test.step.renegotiate",
        &[
            ID,
            REPEAT,
            Meaning::new("template", "The template of the new reservation."),
            Meaning::new("sending", "The new flowspec; as it was if absent."),
            Meaning::new("receiving", "The new flowspec; as it was if absent."),
        ],
    ),
    (
        "test.step.refresh",
        &[ID, REPEAT, Meaning::new("ttl", "The flow ends after this time unless it is refreshed again.")],
    ),
    ("test.step.close", &[ID, REPEAT]),
    (
        "test.step.group",
        &[
            Meaning::new("id", "The name of the group."),
            Meaning::new("interface", "The only interface that the members may use."),
            Meaning::new("class", "The class whose share is charged; none if absent."),
            Meaning::with_default(
                "mode",
                "Whether the group or its largest member is charged.",
                "\"envelope\"",
            ),
            Meaning::new("template", "The template that gives the flowspecs."),
            Meaning::new("templates", "As template; the first one counts."),
            Meaning::new("sending", "The flowspec of the sending direction; best effort if absent."),
            Meaning::new("receiving", "The flowspec of the receiving direction; best effort if absent."),
        ],
    ),
    (
        "test.step.peer",
        &[
            ID,
            REPEAT,
            Meaning::new(
                "state",
                "Whether nothing is heard of the peer, it accepts no data, it is active or gone.",
            ),
            Meaning::new("for", "How long it has been so; from now on if absent."),
        ],
    ),
    (
        "test.step.capacity",
        &[
            Meaning::new("interface", "The interface."),
            Meaning::new("direction", "The direction: egress is sending."),
            Meaning::new("capacity", "What the link carries from now on."),
        ],
    ),
    (
        "test.step.measure",
        &[
            Meaning::new("interface", "The interface."),
            Meaning::new("class", "The class."),
            Meaning::new("window", "How long was measured."),
            Meaning::with_default("sending", "The mean rate that was sent.", "\"0 bit/s\""),
            Meaning::with_default("receiving", "The mean rate that was received.", "\"0 bit/s\""),
        ],
    ),
    (
        "test.step.transfer",
        &[
            Meaning::new("id", "The id of an admitted flow."),
            Meaning::with_default("duration", "How long the rate is measured.", "\"3 s\""),
            Meaning::new("bytes", "The measurement ends earlier once so much has been sent."),
        ],
    ),
    (
        "test.step.expect",
        &[
            Meaning::new("decision", "Every decision of the step."),
            Meaning::new(
                "error",
                "The Winsock error of every decision of the step; \"none\" if it has none.",
            ),
            Meaning::new(
                "status",
                "The WSA_QOS status of every decision of the step; \"none\" if it has none.",
            ),
            Meaning::new("reason", "The reason of every refusal of the step; \"none\" if it has none."),
            Meaning::new("message", "A part of the message of every decision of the step."),
            Meaning::new(
                "rendition",
                "The template that was admitted, of several; \"the first\"; or \"none\".",
            ),
            Meaning::new(
                "interface",
                "The interface of reserved and available, if it is not the step's own.",
            ),
            Meaning::new("reserved", "What is reserved on the interface after the step."),
            Meaning::new("available", "What is available on the interface after the step."),
            Meaning::new("charged", "What the last decision of the step charges."),
            Meaning::new("would_fit", "The largest charge that would fit, by every refusal of the step."),
            Meaning::new("preempted", "The ids of all flows that the step displaces."),
            Meaning::new("shed", "The ids of all flows that a falling capacity ends."),
            Meaning::new("expired", "The ids of all flows that end at their time."),
            Meaning::new("dead", "The ids of all flows whose peers were gone."),
            Meaning::new("stalled", "The ids of all flows whose peers accepted nothing."),
            Meaning::new("notified", "The ids of all waiting flows that are notified of capacity."),
            Meaning::new("waiting", "Whether the flow waits for capacity."),
            Meaning::new("flows", "The number of admitted flows after the step."),
            Meaning::new("rate", "The measured rate of a transfer."),
            Meaning::with_default("within", "The largest difference of rate, above or below.", "\"2%\""),
        ],
    ),
    ("test.step.expect.reserved", RATES),
    ("test.step.expect.available", RATES),
    ("test.step.expect.charged", RATES),
];

const ID: Meaning =
    Meaning::new("id", "The id of the flow; {n} in it is the number of a repeated step's flow.");
const REPEAT: Meaning = Meaning::with_default("repeat", "How many flows, with {n} in the id.", "1");

const RATES: &[Meaning] = &[
    Meaning::new("sending", "The rate in the sending direction."),
    Meaning::new("receiving", "The rate in the receiving direction."),
];

const CONNECT: &[Meaning] = &[
    ID,
    REPEAT,
    Meaning::new("interface", "The interface."),
    Meaning::new("class", "The class; that of the rule, or of the owner, if absent."),
    Meaning::new("group", "The group whose reservation the flow shares."),
    Meaning::new("client", "The client that the flow is counted for."),
    Meaning::new("uid", "The user id of the owner."),
    Meaning::new("gid", "The group id of the owner."),
    Meaning::new("cgroup", "The control group of the owner."),
    Meaning::new("template", "The template that gives the flowspecs."),
    Meaning::new("templates", "A ladder of templates, best first: the flow gets the first that fits."),
    Meaning::new("sending", "The flowspec of the sending direction; best effort if absent."),
    Meaning::new("receiving", "The flowspec of the receiving direction; best effort if absent."),
    Meaning::new("start", "When the reservation begins, from now; now if absent."),
    Meaning::new("duration", "How long the reservation lasts; until it is released if absent."),
    Meaning::new("ttl", "Soft state: the flow ends after this time unless it is refreshed."),
    Meaning::new("setup_priority", "From 0 (best) to 7; that of the class if absent."),
    Meaning::new("holding_priority", "From 0 (best) to 7; that of the class if absent."),
    Meaning::with_default("wait", "Whether a refused flow is notified of capacity.", "false"),
    Meaning::with_default("protocol", "The protocol with which rules are looked up.", "\"tcp\""),
    Meaning::with_default("local_port", "The local port with which rules are looked up.", "0"),
    Meaning::with_default("peer", "The address with which rules are looked up.", "\"0.0.0.0\""),
];

const QUERY: &[Meaning] = &[
    Meaning::new("id", "The id of the flow; none if absent."),
    Meaning::new("interface", "The interface."),
    Meaning::new("class", "The class; that of the rule, or of the owner, if absent."),
    Meaning::new("group", "The group whose reservation the flow shares."),
    Meaning::new("client", "The client that the flow is counted for."),
    Meaning::new("uid", "The user id of the owner."),
    Meaning::new("gid", "The group id of the owner."),
    Meaning::new("cgroup", "The control group of the owner."),
    Meaning::new("template", "The template that gives the flowspecs."),
    Meaning::new("templates", "As template; a query takes one."),
    Meaning::new("sending", "The flowspec of the sending direction; best effort if absent."),
    Meaning::new("receiving", "The flowspec of the receiving direction; best effort if absent."),
    Meaning::new("start", "When the reservation begins, from now; now if absent."),
    Meaning::new("duration", "How long the reservation lasts; until it is released if absent."),
    Meaning::new("ttl", "Soft state: the flow ends after this time unless it is refreshed."),
    Meaning::new("setup_priority", "From 0 (best) to 7; that of the class if absent."),
    Meaning::new("holding_priority", "From 0 (best) to 7; that of the class if absent."),
    Meaning::with_default("protocol", "The protocol with which rules are looked up.", "\"tcp\""),
    Meaning::with_default("local_port", "The local port with which rules are looked up.", "0"),
    Meaning::with_default("peer", "The address with which rules are looked up.", "\"0.0.0.0\""),
];
