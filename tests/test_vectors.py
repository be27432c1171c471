"""Golden vectors: what they hold, that they regenerate, and that a damaged file is refused."""

import json

import numpy as np
import pytest

from refimpl.actions.determinant import WilsonDeterminant, log_determinant
from refimpl.actions.dirac import wilson_dirac
from refimpl.actions.pseudofermion import hasenbusch
from refimpl.observables import mean_plaquette
from refimpl.validation import measure, vectors
from refimpl.validation.fixed_point import BITS, Fixed, log_absolute, phases, solved

FERMIONS = vectors.read_suite("fermions")


def test_vectors_agree_with_the_explicit_loops():
    for vector in vectors.read_suite("u1"):
        for k, x in enumerate(vector.x):
            # rounding of at most 64 plaquettes, each known to 8e-15
            assert abs(vector.expected["action"][k] - measure.loop_action(x, 1.0)) < 1e-12
            assert np.max(np.abs(vector.expected["force"][k] - measure.loop_force(x, 1.0))) < 2e-14
            assert abs(vector.expected["plaquette"][k] - measure.loop_mean_plaquette(x)) < 1e-14
            assert abs(vector.expected["sine_charge"][k] - measure.loop_sine_charge(x)) < 1e-13
            assert vector.expected["charge"][k] == round(measure.loop_charge(x))


def test_the_suite_covers_sectors_boundaries_and_rectangles():
    suite = vectors.read_suite("u1")
    flags = {flag for vector in suite for flag in vector.flags}
    assert {"BASIC", "SECTOR", "CONVENTION", "BRANCH_CUT"} <= flags
    assert {(2, 2), (2, 3), (3, 2), (8, 8)} <= {vector.shape for vector in suite}
    charges = np.concatenate([vector.expected["charge"] for vector in suite])
    assert charges.dtype == np.int64
    assert {-1, 0, 1} <= set(charges.tolist()) or {0, 1} <= set(charges.tolist())


def test_writing_again_gives_the_shipped_bytes(tmp_path):
    names = vectors.write_suites(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert written == sorted(path.relative_to(vectors.VECTORS) for path in vectors.VECTORS.rglob("*.*"))
    assert len(written) == 2 * len(names) + len(vectors.SUITES)
    for name in written:
        if name.parts[0] != "l2hmc":  # which is made in the extended precision of the machine
            assert (tmp_path / name).read_bytes() == (vectors.VECTORS / name).read_bytes(), name
    for old, new in zip(vectors.read_suite("l2hmc"), vectors.read_suite("l2hmc", tmp_path), strict=True):
        assert old.regenerated_by(new)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_damaged_file_is_refused_by_name(tmp_path, suffix):
    vectors.write_suites(tmp_path)
    path = tmp_path / "u1" / f"hot-4x4{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(vectors.ChecksumError, match=f"hot-4x4{suffix}"):
        vectors.read_suite("u1", tmp_path)


def test_a_missing_file_or_manifest_is_refused_by_name(tmp_path):
    with pytest.raises(vectors.ChecksumError, match=r"manifest\.json"):
        vectors.read_suite("u1", tmp_path)
    vectors.write_suites(tmp_path)
    (tmp_path / "u1" / "cut-4x4.npz").unlink()
    with pytest.raises(vectors.ChecksumError, match=r"cut-4x4\.npz"):
        vectors.read_suite("u1", tmp_path)


def test_a_pickle_in_a_vector_is_never_loaded(tmp_path):
    import hashlib

    vectors.write_suites(tmp_path)
    folder = tmp_path / "u1"
    np.savez(folder / "hot-4x4.npz", x=np.array([{"a": 1}], dtype=object))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["hot-4x4.npz"] = hashlib.sha256((folder / "hot-4x4.npz").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        vectors.read_suite("u1", tmp_path)


def test_vectors_of_weights_show_every_bias():
    from refimpl.validation.reference_l2hmc import map_with_weights

    for vector in vectors.read_suite("l2hmc"):
        record = {**vector.about["architecture"], "theory": vector.about["theory"]}
        record["parameters"] = vector.about["parameters"]
        params = {k.removeprefix("params/"): v for k, v in vector.expected.items() if k.startswith("params/")}
        z = (vector.x, vector.expected["v"])
        (x, _), logdet = map_with_weights(params, record, z, 1)
        # two layers of 32 entries: 1e3 roundings of size pi, amplified tenfold
        assert np.max(np.abs(x - vector.expected["x_forward"])) < 1e-11
        assert np.max(np.abs(logdet - vector.expected["logdet_forward"])) < 1e-11
        for key, value in params.items():
            if "bias" in key:
                (x, v), _ = map_with_weights({**params, key: np.zeros_like(value)}, record, z, 1)
                off = max(
                    np.max(np.abs(x - vector.expected["x_forward"])), np.max(np.abs(v - vector.expected["v_forward"]))
                )
                assert off > 1e-4, key


# Fermions


def close(a, b):
    """To 1e-11 of the largest entry: condition numbers reach 1e4, of D D^dag, with some hundred roundings."""
    return np.max(np.abs(np.asarray(a) - b)) < 1e-11 * max(1.0, np.max(np.abs(b)))


@pytest.mark.parametrize("vector", FERMIONS, ids=lambda vector: vector.name)
def test_vectors_of_fermions_agree_with_the_package(vector):
    x, want, kappa = vector.x, vector.expected, vector.about["kappa"]
    n = 1 if x.ndim == 4 else x.shape[-1]
    d = wilson_dirac(x, kappa)
    assert close(d.apply(want["psi"]), want["dirac_psi"])
    for prefix, operator in (("", d), ("periodic_", wilson_dirac(x, kappa, antiperiodic=False))):
        size, sign = log_determinant(operator)
        assert close(size, want[prefix + "log_determinant"])
        assert np.array_equal(sign, want[prefix + "determinant_sign"])
    assert close(WilsonDeterminant(kappa, n).force(x), want["determinant_force"])
    assert np.max(np.abs(mean_plaquette(x) - want["plaquette"])) < 1e-15
    for kind, attributes in vector.about["pseudofermions"].items():
        phi = want[f"{kind}/phi"].swapaxes(0, 1)
        monomials = hasenbusch(kappa, n=n, **attributes)
        assert len(phi) == len(monomials)
        assert close(sum(m.action(x, p) for m, p in zip(monomials, phi, strict=True)), want[f"{kind}/action"])
        assert close(sum(m.force(x, p) for m, p in zip(monomials, phi, strict=True)), want[f"{kind}/force"])


def test_vectors_of_fermions_show_the_boundary_sign_and_signs_of_the_determinant():
    assert {(v.about["theory"], v.shape) for v in FERMIONS} >= {
        ("schwinger", (2, 2)),
        ("schwinger", (3, 4)),
        ("schwinger", (4, 4)),
        ("su2", (3, 4)),
        ("su3", (2, 4)),
    }
    for vector in FERMIONS:
        contrast = np.abs(vector.expected["log_determinant"] - vector.expected["periodic_log_determinant"])
        assert contrast.min() > 0.01, vector.name
        assert ("even_odd" in vector.about["pseudofermions"]) == (vector.shape[0] % 2 == 0 == vector.shape[1] % 2)
        # unitary to the rounding of its entries
        if vector.x.ndim == 6:
            assert np.abs(vector.x @ vector.x.conj().swapaxes(-1, -2) - np.eye(vector.x.shape[-1])).max() < 1e-15
            assert np.abs(np.linalg.det(vector.x) - 1).max() < 1e-15
    assert {-1, 1} == {int(s) for vector in FERMIONS for s in vector.expected["determinant_sign"]}
    assert sum(path.stat().st_size for path in (vectors.VECTORS / "fermions").iterdir()) < 300_000


def test_fixed_point_arithmetic_holds_forty_digits():
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(1)
    z = rng.standard_normal((6, 6, 2)).view(complex)[..., 0]
    with mpmath.workdps(60):

        def exact(fixed, *index):
            re, im = (int(np.asarray(part, dtype=object)[index]) for part in (fixed.re, fixed.im))
            return mpmath.mpc(re, im) / mpmath.mpf(2) ** BITS

        matrix = mpmath.matrix(z.tolist())
        det, inverse = solved(Fixed.of(z), Fixed.eye(6))
        assert abs(exact(det) - mpmath.det(matrix)) < mpmath.mpf(10) ** -45
        for i, j in np.ndindex(6, 6):
            assert abs(exact(inverse, i, j) - (matrix**-1)[i, j]) < mpmath.mpf(10) ** -45
        assert log_absolute(det) == float(mpmath.log(abs(mpmath.det(matrix))))
        angles = rng.uniform(-np.pi, np.pi, 5)
        for k, angle in enumerate(angles):
            assert abs(exact(phases(angles), k) - mpmath.expj(mpmath.mpf(angle))) < mpmath.mpf(10) ** -49
    assert np.array_equal(Fixed.of(z).rounded(), z)
    assert np.abs((Fixed.of(z) @ Fixed.of(z)).rounded() - z @ z).max() < 1e-14
    assert np.array_equal(Fixed.of(z).dagger.rounded(), z.conj().T)
