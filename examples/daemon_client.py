#!/usr/bin/env python3
"""A client of the gqos daemon, with Python's standard library alone.

    python3 examples/daemon_client.py status
    python3 examples/daemon_client.py send --template 1080p 192.0.2.7 9000 < film.ts

`send` reserves for a TCP connection, passes its socket to the daemon, which sends its packets to the flow's class, and
sends standard input no faster than the token rate. The reservation ends with the socket. Exit codes: 1 the flow was
refused, 69 the daemon cannot be reached, 71 the peer cannot be reached.
"""

import argparse
import json
import os
import socket
import sys
import time


class DaemonError(Exception):
    """The daemon has answered with an error."""


class Client:
    """A connection to the control socket: varlink, which is JSON objects that end with a NUL."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.received = b""

    def call(self, method, descriptors=(), **parameters):
        """Calls a method; `descriptors` are passed with the call. Gives the parameters of the reply."""
        message = json.dumps({"method": f"org.gqos.{method}", "parameters": parameters}).encode() + b"\0"
        sent = socket.send_fds(self.socket, [message], list(descriptors))
        self.socket.sendall(message[sent:])
        reply = self.reply()
        if "error" in reply:
            raise DaemonError(f"{reply['error']} {json.dumps(reply.get('parameters', {}))}")
        return reply.get("parameters", {})

    def reply(self):
        while b"\0" not in self.received:
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("the daemon has closed the connection")
            self.received += part
        message, _, self.received = self.received.partition(b"\0")
        return json.loads(message)


def send(client, arguments):
    try:
        connection = socket.create_connection((arguments.host, arguments.port))
    except OSError as error:
        print(f"{arguments.host}: {error}", file=sys.stderr)
        return 71
    peer, local = connection.getpeername(), connection.getsockname()
    asked = {"template": arguments.template} if arguments.template else {}
    answer = client.call("Reserve", peer=peer[0], protocol="tcp", local_port=local[1], **asked)
    decision = answer["decision"]
    print(decision["message"], file=sys.stderr)
    if not decision["ok"]:
        return 1
    client.call("Attach", descriptors=[connection.fileno()], id=decision["id"])
    client.call("Commit", id=decision["id"])
    # The kernel's class holds the flow to its rate as well, where the daemon has one for it.
    rate, due = decision["charged"]["sending"], time.monotonic()
    while data := sys.stdin.buffer.read1(16384):
        if rate:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic()) + len(data) / rate
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    sys.stdout.buffer.write(b"".join(iter(lambda: connection.recv(65536), b"")))
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", default=os.environ.get("GQOS_SOCKET") or "/run/gqos/gqos.sock")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="print the state of the daemon")
    sender = commands.add_parser("send", help="send standard input with a reservation")
    sender.add_argument("--template", help="the template of the policy; a rule of the policy decides without it")
    sender.add_argument("host"), sender.add_argument("port", type=int)
    arguments = parser.parse_args()
    try:
        client = Client(arguments.socket)
    except OSError as error:
        print(f"{arguments.socket}: {error}", file=sys.stderr)
        return 69
    if arguments.command == "send":
        return send(client, arguments)
    print(json.dumps(client.call("Status"), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
