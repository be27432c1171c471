"""The plain HMC of the mutant bank as strangers write it, each convention by hand."""

from functools import partial

import numpy as np

from refimpl.validation.mutants.clay import Clay


def moved(order, back=None):
    """A field laid out in this order of its axes, and back."""
    inverse = np.argsort(order)
    return (lambda y: np.transpose(y, order), lambda y: np.transpose(y, inverse)) if back is None else (order, back)


SAME = moved(lambda y: y, lambda y: y)
LAYOUTS = {  # what makes a stranger's array of ours (chain, mu, t, x)
    "chain mu x t": moved((0, 1, 3, 2)),
    "mu t x chain": moved((1, 2, 3, 0)),
    "chain t x mu": moved((0, 2, 3, 1)),
    "x t mu chain": moved((3, 2, 1, 0)),
}
SPACE_FIRST = moved(lambda y: y[:, ::-1], lambda y: y[:, ::-1])
POSITIVE = moved(lambda y: np.remainder(y, 2 * np.pi), lambda y: np.remainder(y + np.pi, 2 * np.pi) - np.pi)
PHASES = moved(lambda y: np.exp(1j * y), np.angle)


class Foreign:
    """A clay that takes and gives fields, momenta and numbers in another way; each pair leads from ours to theirs, and back."""

    theory = "u1"

    def __init__(self, clay=None, field=SAME, tangent=None, action=1.0, force=1.0, charge=1, turned=False, strict=None):
        self._clay, self._turned, self._strict = clay or Clay(), turned, strict
        self._settings = {
            "field": field, "tangent": tangent or field, "action": action, "force": force, "charge": charge,
            "turned": turned, "strict": strict,
        }  # fmt: skip
        (self._x_out, self._x_in), (self._v_out, self._v_in) = field, tangent or field
        self._action, self._force, self._charge = action, force, charge
        self.beta, self.step_size, self.n_steps = self._clay.beta, self._clay.step_size, self._clay.n_steps
        self.shape = self._clay.shape[::-1] if turned else self._clay.shape

    def replace(self, **changes):
        if self._turned and "shape" in changes:
            changes["shape"] = changes["shape"][::-1]
        return Foreign(self._clay.replace(**changes), **self._settings)

    def _in(self, y):
        if self._strict is not None and not self._strict(y):
            raise ValueError("no field of mine")
        return self._x_in(y)

    def action(self, y):
        return self._action * self._clay.action(self._in(y))

    def force(self, y):
        return self._force * self._v_out(self._clay.force(self._in(y)))

    def plaquette(self, y):
        return self._clay.plaquette(self._in(y))

    def wilson_loop(self, y, a, b):
        return self._clay.wilson_loop(self._in(y), a, b)

    def charge(self, y):
        return self._charge * self._clay.charge(self._in(y))

    def sine_charge(self, y):
        return self._charge * self._clay.sine_charge(self._in(y))

    def _map(self, way, z):
        (x, v), logdet = getattr(self._clay, way)((self._in(z[0]), self._v_in(z[1])))
        return (self._x_out(x), self._v_out(v)), logdet

    def forward(self, z):
        return self._map("forward", z)

    def inverse(self, z):
        return self._map("inverse", z)

    def _record(self, record):
        out = {"x_proposed": self._x_out, "x_next": self._x_out, "v_proposed": self._v_out, "v": self._v_out}
        return {name: out.get(name, np.asarray)(value) for name, value in record.items()}

    def transition(self, y, v, u):
        return self._record(self._clay.transition(self._in(y), self._v_in(v), u))

    def transcript(self, y, seed):
        return self._record(self._clay.transcript(self._in(y), seed))

    def step(self, y, seed):
        return self._x_out(self._clay.step(self._in(y), seed))

    def run(self, y, n, seed):
        configurations, state = self._clay.run(self._in(y), n, seed)
        return np.array([self._x_out(x) for x in configurations]), state

    def resume(self, state, n):
        configurations, state = self._clay.resume(state, n)
        return np.array([self._x_out(x) for x in configurations]), state


class OneChain:
    """A clay that knows one configuration at a time."""

    theory, beta = "u1", 2.0

    def __init__(self, shape=(4, 4)):
        self._clay, self.shape = Clay(shape=shape), shape
        self.step_size, self.n_steps = self._clay.step_size, self._clay.n_steps
        for name in ("action", "force", "plaquette", "charge", "sine_charge", "step", "wilson_loop"):
            setattr(self, name, partial(self._first, name))

    def replace(self, shape=(4, 4)):
        return OneChain(shape)

    def _first(self, name, x, *arguments):
        return getattr(self._clay, name)(x[None], *arguments)[0]

    def forward(self, z):
        (x, v), logdet = self._clay.forward((z[0][None], z[1][None]))
        return (x[0], v[0]), logdet[0]

    def inverse(self, z):
        (x, v), logdet = self._clay.inverse((z[0][None], z[1][None]))
        return (x[0], v[0]), logdet[0]

    def transition(self, x, v, u):
        return {name: value[0] for name, value in self._clay.transition(x[None], v[None], np.array([u])).items()}

    def transcript(self, x, seed):
        return {name: value[0] for name, value in self._clay.transcript(x[None], seed).items()}

    def run(self, x, n, seed):
        configurations, state = self._clay.run(x[None], n, seed)
        return configurations[:, 0], state

    def resume(self, state, n):
        configurations, state = self._clay.resume(state, n)
        return configurations[:, 0], state


def in_unit_circle(y):
    return np.iscomplexobj(y)


def in_positive_range(y):
    return bool(np.all((y >= 0) & (y < 2 * np.pi)))


FOREIGN = {
    "axes (chain, mu, x, t)": Foreign(field=LAYOUTS["chain mu x t"], turned=True),
    "axes (mu, t, x, a, b, chain)": Foreign(field=LAYOUTS["mu t x chain"]),
    "axes (chain, t, x, mu)": Foreign(field=LAYOUTS["chain t x mu"]),
    "axes (x, t, mu, chain)": Foreign(field=LAYOUTS["x t mu chain"], turned=True),
    "axes (mu, t, x)": OneChain(),
    "mu = 0 taken for space": Foreign(field=SPACE_FIRST),
    "angles in [0, 2 pi)": Foreign(field=POSITIVE, tangent=SAME, strict=in_positive_range),
    "links as phases exp(i theta)": Foreign(field=PHASES, tangent=SAME, strict=in_unit_circle),
    "plaquettes the other way round (Q -> -Q)": Foreign(charge=-1),
    "F -> -F": Foreign(force=-1),
    "S -> -S and F -> -F": Foreign(action=-1, force=-1),
    "axes (chain, mu, x, t) and F -> -F": Foreign(field=LAYOUTS["chain mu x t"], turned=True, force=-1),
    "axes (x, t, mu, chain) and plaquettes the other way round (Q -> -Q)": Foreign(
        field=LAYOUTS["x t mu chain"], turned=True, charge=-1
    ),
}
