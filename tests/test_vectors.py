"""Golden vectors: what they hold, that they regenerate, and that a damaged file is refused."""

import hashlib
import json
import shutil

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


# Made in less than 0.3 s; `refimpl vectors check` of the CI makes all of them.
SLOW = {"fermions", "schwinger", "sun", "leapfrog", "updates", "exact"}
SLOW |= {"dirac", "determinants", "variates", "u1_variates", "layers", "omelyan", "nested", "orbits"}
SLOW |= {"exact_lattices", "estimators", "gaussian_models", "net_variates", "summaries"}
QUICK = [s for s in vectors.SUITES if s not in SLOW]


@pytest.mark.parametrize("suite", QUICK)
def test_suites_regenerate(suite):
    shipped = {vector.name: vector for vector in vectors.read_suite(suite)}
    made = {vector.name: vector for vector in vectors.regenerated(suite)}
    assert list(made) == list(shipped)
    for name, vector in made.items():
        assert shipped[name].regenerated_by(vector), name


@pytest.mark.parametrize("suite", ["u1", "phi4"])
def test_writing_again_gives_the_shipped_bytes(suite, tmp_path):
    names = vectors.write_suites(tmp_path, [suite])
    shipped = sorted(path.name for path in (vectors.VECTORS / suite).iterdir())
    assert sorted(path.name for path in (tmp_path / suite).iterdir()) == shipped
    assert len(shipped) == 2 * len(names) + 2  # manifest.json and calls.json
    for name in shipped:
        assert (tmp_path / suite / name).read_bytes() == (vectors.VECTORS / suite / name).read_bytes(), name


def test_writing_adds_what_is_missing_and_changes_nothing(tmp_path):
    vectors.write_suites(tmp_path, ["o2", "gaussian"])
    manifest = json.loads((tmp_path / "o2" / "manifest.json").read_text())
    manifest["vectors"].remove("cut-8")
    (tmp_path / "o2" / "manifest.json").write_text(json.dumps(manifest))
    assert vectors.write_suites(tmp_path, ["o2"]) == ["o2/cut-8"]
    assert vectors.write_suites(tmp_path, ["o2"]) == []
    assert {v.name for v in vectors.read_suite("o2", tmp_path)} == {v.name for v in vectors.read_suite("o2")}
    summary = vectors.summary(tmp_path)
    assert set(summary["suites"]) == {"o2", "gaussian"}
    files = [path for suite in ("o2", "gaussian") for path in (tmp_path / suite).iterdir()]
    assert summary["bytes"] == sum(path.stat().st_size for path in files)
    other = vectors.read_suite("o2", tmp_path)[0]
    arrays = {"x": other.x + 1e-15, **other.expected}
    sums = vectors.write_vector(tmp_path / "o2", other.name, other.about, arrays)
    manifest = json.loads((tmp_path / "o2" / "manifest.json").read_text())
    manifest["sha256"] |= sums
    (tmp_path / "o2" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(vectors.VectorError, match="append-only"):
        vectors.write_suites(tmp_path, ["o2"])


@pytest.fixture
def written(tmp_path):
    for suite in ("o2", "u1"):
        shutil.copytree(vectors.VECTORS / suite, tmp_path / suite)
    vectors.write_suites(tmp_path, [])
    return tmp_path


@pytest.mark.parametrize("name", ["u1/hot-4x4.npz", "u1/hot-4x4.json", "u1/manifest.json", "u1/calls.json"])
def test_a_damaged_file_is_refused_by_name(written, name):
    content = bytearray((written / name).read_bytes())
    content[len(content) // 2] ^= 1
    (written / name).write_bytes(content)
    with pytest.raises(vectors.ChecksumError, match=name.split("/")[1].replace(".", r"\.")):
        vectors.read_suite("u1", written)


@pytest.mark.parametrize("name", ["u1/hot-4x4.json", "u1/manifest.json", "u1/calls.json"])
def test_a_space_more_is_another_file(written, name):
    (written / name).write_bytes((written / name).read_bytes() + b" ")
    with pytest.raises(vectors.ChecksumError, match="the checksum is not that of"):
        vectors.read_suite("u1", written)


@pytest.mark.parametrize("name", ["u1/cut-4x4.npz", "u1/manifest.json", "manifest.json"])
def test_a_missing_file_or_manifest_is_refused_by_name(written, name):
    (written / name).unlink()
    with pytest.raises(vectors.ChecksumError, match=name.split("/")[-1].replace(".", r"\.")):
        vectors.read_suite("u1", written)


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", 7, None])
def test_a_manifest_names_no_file_elsewhere(written, name):
    manifest = json.loads((written / "u1" / "manifest.json").read_text())
    manifest["vectors"][0] = name
    content = json.dumps(manifest).encode()
    (written / "u1" / "manifest.json").write_bytes(content)
    top = json.loads((written / "manifest.json").read_text())
    top["suites"]["u1"]["sha256"] = hashlib.sha256(content).hexdigest()
    (written / "manifest.json").write_text(json.dumps(top))
    with pytest.raises(vectors.ChecksumError, match="names of vectors"):
        vectors.read_suite("u1", written)


def test_the_manifest_of_all_suites_describes_them():
    summary = vectors.summary()
    assert set(summary["suites"]) == set(vectors.SUITES) == {f.name for f in vectors.VECTORS.iterdir() if f.is_dir()}
    for suite, entry in summary["suites"].items():
        assert entry["vectors"] == len(vectors.read_suite(suite))
        assert entry["bytes"] == sum(path.stat().st_size for path in (vectors.VECTORS / suite).iterdir())
    assert summary["vectors"] == sum(entry["vectors"] for entry in summary["suites"].values())
    assert sum(path.stat().st_size for path in vectors.VECTORS.rglob("*") if path.is_file()) < 10_000_000


def test_vectors_of_weights_show_every_bias():
    from refimpl.validation.references.l2hmc import map_with_weights

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
