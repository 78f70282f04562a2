"""Reserves, lists, follows and releases by PyPI's varlink module. Its argument is the daemon's control socket; the policy has
an interface lo and a template hd."""

import sys

import varlink

client = varlink.Client("unix:" + sys.argv[1])
with client.open("org.varlink.service") as service:
    info = service.GetInfo()
    assert info["product"] == "gqos daemon" and "org.gqos" in info["interfaces"], info

with client.open("org.gqos") as gqos, client.open("org.gqos") as listening:
    events = listening.Events(_more=True)
    # The first reply says that events are followed from here on.
    first = next(events)
    assert (first["events"], first["dropped"]) == ([], 0) and first["began_us"] > 0, first

    decision = gqos.Reserve(interface="lo", template="hd")["decision"]
    assert decision["ok"] and decision["charged"]["sending"] == 125_000, decision
    refused = gqos.Reserve(interface="lo", template="none")["decision"]
    assert (refused["code"], refused["reason"]) == (10045, "unknown_template"), refused
    flows = [flow for reply in gqos.Flows(_more=True) for flow in reply["flows"]]
    assert [flow["id"] for flow in flows] == [decision["id"]], flows
    assert gqos.Status()["flows"] == 1

    gqos.Release(id=decision["id"])
    try:
        gqos.Refresh(id=decision["id"], ttl_us=1)
        raise AssertionError("the flow has ended")
    except varlink.VarlinkError as error:
        assert error.error() == "org.gqos.UnknownId", error
    try:
        gqos.Release(id=3)
        raise AssertionError("an id is a string")
    except varlink.InvalidParameter:
        pass

    seen = []
    while "flow_released" not in seen:
        seen += [event["event"] for event in next(events)["events"]]
    assert seen == ["flow_admitted", "flow_refused", "flow_released"], seen
print("PyPI's varlink: a flow admitted, listed and released")
