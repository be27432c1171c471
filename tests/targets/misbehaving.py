"""A program that speaks the protocol without NumPy, and misbehaves as its argument says: ``python -I -S misbehaving.py MODE``.

``honest`` is a u1 target whose action is 0 for every chain; any other mode does one thing wrong, at ``start`` or when asked for
the action. ``says-at-start`` answers ``start`` with its second argument.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

MODE = sys.argv[1]
DECLARED: dict[str, Any] = {
    "status": "ok",
    "protocol": 1,
    "name": "misbehaving",
    "theory": "u1",
    "parameters": {"beta": 2.0, "shape": [2, 2]},
    "ops": ["action"],
    "varies": ["beta", "shape"],
}


def say(text: str | bytes) -> None:
    sys.stdout.buffer.write(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def array(shape: str, data: bytes, descr: str = "<f8") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def started(request: dict[str, Any]) -> None:
    answer = dict(DECLARED, parameters={**DECLARED["parameters"], **request["parameters"]})
    changes: dict[str, dict[str, Any]] = {
        "no-protocol": {"protocol": None},
        "unknown-op": {"ops": ["acton"]},
        "no-beta": {"parameters": {"shape": [2, 2]}},
        "refuses": {"status": "errored", "message": "no licence\x1b[31m"},
        "ignores-beta": {"parameters": DECLARED["parameters"]},
    }
    if MODE == "dies-at-start":
        sys.exit("libgauge.so: cannot open shared object file")
    if MODE == "chatty-at-start":
        say("Hello, this is my HMC\n")
    if MODE == "says-at-start":
        say(sys.argv[2] + "\n")
        return
    if MODE == "silent-at-start":
        time.sleep(60)
    say(json.dumps({**answer, **changes.get(MODE, {})}) + "\n")


def ran(request: dict[str, Any]) -> None:
    path, ok = request["out"]["action"], json.dumps({"status": "ok", "id": request["id"]}) + "\n"
    with open(request["in"]["x"], "rb") as file:
        header = file.read()[10:138].decode("ascii", "replace")
    n = int(header.split("'shape': (")[1].split(",")[0])
    content = {
        "wrong-shape": array(f"({n}, 2)", bytes(16 * n)),
        "nan": array(f"({n},)", b"\xff" * 8 * n),
        "short": array(f"({n},)", b""),
        "huge": array("(99999999999999999999999, 3)", bytes(8 * n)),
        "negative": array(f"(-1, {-n})", bytes(8 * n)),
        "objects": array(f"({n},)", b"cos\nsystem\n(S'touch evil'\ntR.", "|O"),
        "complex": array(f"({n},)", bytes(16 * n), "<c16"),
        "text": b"0.0 0.0\n",
        "int32": array(f"({n},)", bytes(4 * n), "<i4"),
    }.get(MODE, array(f"({n},)", bytes(8 * n)))
    if MODE == "link":
        os.symlink("/etc/hostname", path)
    elif MODE == "hard-link":
        with open(path + ".other", "wb") as file:
            file.write(content)
        os.link(path + ".other", path)
    elif MODE == "pipe":
        os.mkfifo(path)
    elif MODE == "folder":
        os.mkdir(path)
    elif MODE != "no-file":
        with open(path, "wb") as file:
            file.write(content)
    if MODE == "plants-links" and request["id"] == 1:  # where the parent writes next
        for k in (2, 3):
            os.symlink(os.path.join(os.environ["OUTSIDE"], f"{k}"), os.path.join(os.path.dirname(path), f"{k}.x.npy"))
    if MODE == "moves-folder":
        folder = os.path.dirname(path)
        os.rename(folder, folder + ".moved")
        os.symlink(os.environ["OUTSIDE"], folder)
    if MODE == "exits":
        print("beta: out of range\nabort", file=sys.stderr)
        sys.exit(7)
    if MODE == "exits-before-its-child":
        subprocess.Popen(["sleep", "60"])
        sys.exit(7)
    if MODE == "once" and "AGAIN" not in os.environ:
        marker = os.environ["OUTSIDE"] + "/crashed"
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "closes":
        os.close(1)
        time.sleep(60)
    if MODE == "half-a-line":
        say('{"status":"ok","id"')
        sys.exit(0)
    if MODE == "hangs-in-line":
        say('{"status":"ok","id"')
        time.sleep(60)
    if MODE == "silent":
        subprocess.Popen(["sleep", "60"])
        time.sleep(60)
    if MODE == "noisy":
        sys.stderr.write("warning: not converged\n" * 50_000)
    lines: dict[str, str | bytes] = {
        "chatty": "step 1 of 10\n",
        "megabytes": b"x" * (3 << 20),
        "not-utf8": b'{"status":"ok","id":\xff}\n',
        "wrong-id": '{"status":"ok","id":99}\n',
        "twice": ok + ok,
        "key-twice": '{"status":"ok","status":"errored","id":1}\n',
        "nothing": "\n",
        "list": "[1]\n",
        "deep": "[" * 100_000 + "\n",
        "skips": json.dumps({"status": "skipped", "id": request["id"], "reason": "no action today"}) + "\n",
        "errs": json.dumps({"status": "errored", "id": request["id"], "message": "half \ud800 char"}) + "\n",
    }
    say(lines.get(MODE, ok))


while line := sys.stdin.buffer.readline():
    asked = json.loads(line)
    if asked["type"] == "start":
        started(asked)
    elif asked["type"] == "run":
        ran(asked)
    else:
        if MODE == "does-not-stop":
            time.sleep(60)
        say('{"status":"ok"}\n')
        break
