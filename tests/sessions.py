"""A session of the protocol, line by line."""

import json

import numpy as np

from refimpl.validation import protocol
from refimpl.validation.operations import OPERATIONS
from refimpl.validation.run_folder import RunFolder
from refimpl.validation.serving import Server

from .targets import loops


def session_lines(path):
    """All lines of a session with a target of every op of u1, in process."""
    folder = RunFolder(path)
    server, lines = Server(loops.target), []

    def ask(message):
        line = protocol.encoded(message)
        answer = server.answer(line) or {"status": "ok"}
        lines.append((json.loads(line), json.loads(protocol.encoded(answer))))
        return answer

    ask(protocol.start_message(folder.path, {"beta": 1.5, "shape": [2, 2]}))
    x = np.random.default_rng(1).standard_normal((3, 2, 2, 2))
    values = {"x": x, "v": x[::-1], "u": np.array([0.1, 0.5, 0.9]), "series": x.ravel()}
    for k, name in enumerate(server._target.__class__.__dict__):
        if name in OPERATIONS:
            op = OPERATIONS[name]
            if name == "resume":
                values["state"] = folder.read(f"{k - 1}.state_next")
            sent = {part: folder.write(f"{k}.{part}.npy", values[part]) for part in op.arrays}
            out = {part: folder.where(f"{k}.{part}" + ("" if part == "state_next" else ".npy")) for part in op.results}
            ask(protocol.run_message(k, name, dict.fromkeys(op.params, 1), sent, out, 60.0))
    ask({"type": "run", "id": 99, "op": "dance", "params": {}, "in": {}, "out": {}, "deadline": 1.0})
    ask({"type": "stop"})
    return lines
