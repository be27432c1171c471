"""A session of the protocol, line by line, and one without a process."""

import json

import numpy as np

from refimpl.validation import protocol
from refimpl.validation.contract import CAPABILITIES
from refimpl.validation.operations import OPERATIONS, arguments, named_results, operation
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


class Patient:
    """A target whose functions take any arrays."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def action(self, x):
        return np.zeros(np.shape(x)[:1])

    def forward(self, z):
        return z, np.zeros(np.shape(z[0])[:1])

    def run(self, x, n, seed):
        return np.zeros((2, *np.shape(x))), object()

    def resume(self, state, n):
        return np.zeros(3), state


class InProcess:
    """A source that answers by a server in this process."""

    def __init__(self, target):
        self.target = target

    def close(self):
        """Nothing was opened."""

    def declared(self, parameters, deadline):
        ops = [name for name in CAPABILITIES if hasattr(self.target, name)]
        about = {"name": "here", "theory": "u1", "parameters": {"beta": 2.0, "shape": [2, 2]}, "ops": ops}
        return protocol.declaration(protocol.encoded({"status": "ok", "protocol": 1, **about}))

    def results(self, parameters, op, asked, wanted, deadline):
        kind = operation(op)
        return {
            name: value if isinstance(value, bytes) else np.asarray(value)
            for name, value in named_results(kind, getattr(self.target, op)(*arguments(kind, *asked))).items()
        }
