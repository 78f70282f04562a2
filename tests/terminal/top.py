"""Runs `gqos top` on a terminal of its own, with a daemon that answers nothing but it, and ends it in one way."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

STATUS = {
    "version": "0.1.0", "pid": 1, "policy": ["p.toml"], "draining": False, "connections": 0, "flows": 0,
    "interfaces": [],
}
FLOWS = {"flows": [], "matching": 0}


def answer(connection, gone):
    """Replies to the calls of one connection; to none once the daemon is gone."""
    pending = b""
    while data := connection.recv(65536):
        pending += data
        *calls, pending = pending.split(b"\0")
        for call in calls:
            if gone.is_set():
                # A daemon that takes calls and answers none.
                continue
            reply = STATUS if json.loads(call)["method"].endswith("Status") else FLOWS
            connection.sendall(json.dumps({"parameters": reply}).encode() + b"\0")


def serve(listener, gone):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, gone), daemon=True).start()


def read_until(master, text):
    """What the terminal shows up to a text."""
    shown = b""
    while text not in shown:
        shown += os.read(master, 65536)
    return shown


def drain(master):
    """Takes what is drawn, so that the command never waits for the terminal."""
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


def main(gqos, state, way):
    signal.alarm(30)
    directory = tempfile.TemporaryDirectory()
    path = os.path.join(directory.name, "s")
    listener, gone = socket.socket(socket.AF_UNIX), threading.Event()
    listener.bind(path)
    listener.listen()
    threading.Thread(target=serve, args=(listener, gone), daemon=True).start()
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    before = termios.tcgetattr(slave)
    top = subprocess.Popen(
        [gqos, "top", "--socket", path], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"}, start_new_session=True,
    )
    read_until(master, b"quit")
    if state == "typing":
        os.write(master, b"/v")
        read_until(master, b"Enter")
    elif state == "sequence":
        os.write(master, b"\x1b[1;")
        time.sleep(0.3)
    elif state == "gone":
        gone.set()
        time.sleep(1.5)
    if state != "full" and way != "close":
        threading.Thread(target=drain, args=(master,), daemon=True).start()
    elif state == "full":
        # Nobody reads what is drawn, which the user has stopped.
        termios.tcflow(slave, termios.TCOOFF)
        time.sleep(2.5)
    if way == "close":
        os.close(slave)
        os.close(master)
    elif way == "q":
        os.write(master, b"q")
    else:
        top.send_signal(signal.Signals[way])
    try:
        code = top.wait(5)
    except subprocess.TimeoutExpired:
        top.kill()
        sys.exit(f"{state}, {way}: it does not end")
    errors = top.stderr.read()
    restored = way == "close" or termios.tcgetattr(slave) == before
    print(json.dumps({"code": code, "errors": errors.decode(), "restored": restored}))


main(*sys.argv[1:])
