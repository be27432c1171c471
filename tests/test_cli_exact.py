"""The command ``exact``: every digit, errors of two digits, limits, and what it refuses."""

import json
import re

import pytest

from refimpl.cli import main
from refimpl.exact import sun, u1
from tests.commands import run


def test_exact_prints_every_digit(capsys):
    code, out, _ = run(capsys, "exact", "u1", "--beta", "4", "--shape", "8", "8", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["plaquette"] == u1.plaquette(4.0, (8, 8))
    assert content["charge_distribution"]["0"] == u1.charge_distribution(4.0, (8, 8))[1].max()
    code, out, _ = run(capsys, "exact", "u1", "--beta", "4", "--shape", "8", "8")
    assert code == 0
    assert "0.863530042512331" in out


def test_exact_answers_of_every_theory(capsys):
    for argv, shown in (
        (["o2", "--beta", "2", "--length", "8"], "bond_cosine                 0.7216281226"),
        (["gaussian", "--covariance", "[[1, 0.5], [0.5, 2]]"], "x_1^2                       2"),
        (["gmm"], "x_0^2                       4.1"),
    ):
        assert main(["exact", *argv]) == 0
        assert shown in capsys.readouterr().out


def test_exact_answers_of_sun(capsys):
    code, out, _ = run(capsys, "exact", "su3", "--beta", "6", "--shape", "8", "8", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["plaquette"] == content["wilson_loop_1x1"] == sun.plaquette(6.0, (8, 8), 3)
    assert content["shape"] == [8, 8]
    code, out, _ = run(capsys, "exact", "su2", "--beta", "6", "--shape", "8", "8")
    assert code == 0
    assert "two-dimensional SU(2): beta = 6.0" in out
    assert "plaquette                   0.762726077181649" in out
    assert run(capsys, "exact", "su3", "--beta", "600", "--shape", "8", "8")[0] == 2
    assert "expected at most 100" in run(capsys, "exact", "su3", "--beta", "600", "--shape", "8", "8")[2]


def test_exact_answers_with_fermions(capsys):
    from refimpl.exact.schwinger_2x2 import two_by_two

    model = ("exact", "schwinger", "--beta", "2", "--kappa")
    code, out, _ = run(capsys, *model, "0.265", "--shape", "2", "2", "--json")
    assert code == 0
    exact = two_by_two(2.0, 0.265)
    assert json.loads(out)["plaquette"] == exact.plaquette
    assert json.loads(out)["charge_distribution"]["-1"] == exact.charge_distribution[-1]
    assert "p(Q = +-1)" in run(capsys, *model, "0.265", "--shape", "2", "2")[1]
    without = json.loads(run(capsys, *model, "0", "--shape", "4", "4", "--json")[1])
    assert without["plaquette"] == u1.plaquette(2.0, (4, 4))
    sampled = [*model, "0.265", "--shape", "2", "3", "--samples", "100", "--seed", "5"]
    table, record = run(capsys, *sampled)[1], json.loads(run(capsys, *sampled, "--json")[1])
    assert 0 < record["effective_fraction"] < 1
    assert record["charge_squared"] > 0 < record["errors"]["charge_squared"]
    assert re.search(rf"plaquette +{record['plaquette']:.3f}\(\d\d\)\n", table)
    assert record["errors"]["plaquette"] > 0.00095  # or it would have a fourth digit
    assert "samples = 100, seed = 5" in table


def test_exact_answers_of_sun_with_fermions(capsys):
    sampled = ("exact", "su2", "--beta", "1", "--kappa", "0.1", "--shape", "2", "2")
    record = json.loads(run(capsys, *sampled, "--samples", "50", "--json")[1])
    assert record["samples"] == 50
    assert record["errors"]["plaquette"] > 0
    assert re.search(r"plaquette +0\.\d+\(\d\d\)\n", run(capsys, *sampled, "--samples", "50")[1])
    code, _, err = run(capsys, *sampled, "--samples", "5")
    assert code == 2
    assert re.search(
        r"--samples: got 5, as good as [\d.]+ without weights; expected as good as 10: some \d+ samples", err
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.73624, 0.00123, "0.7362(12)"),
        (0.73624, 0.000996, "0.7362(10)"),  # the error rounds up to a power of ten
        (12.345, 1.26, "12.3(1.3)"),
        (1234.5, 26.0, "1234(26)"),
        (12345.0, 260.0, "12345(260)"),
        (-0.5, 0.1, "-0.50(10)"),
        (0.5, 0.0, "0.5"),
    ],
)
def test_an_error_has_two_digits(value, error, text):
    from refimpl.cli.answers import with_error

    assert with_error(value, error) == text


def test_no_charge_in_the_samples_is_an_upper_limit(capsys):
    frozen = ("exact", "schwinger", "--beta", "31", "--kappa", "0.2", "--shape", "4", "4", "--samples", "100")
    _, table, _ = run(capsys, *frozen)
    record = json.loads(run(capsys, *frozen, "--json")[1])
    limit = 3 / (100 * record["effective_fraction"])  # no event: fewer than 3 are expected, with 95 %
    assert record["charge_squared"] is None
    assert record["errors"]["charge_squared"] is None
    assert record["upper_limits"] == {"charge_squared": pytest.approx(limit)}
    assert "no sample has charge" in record["notes"][0]
    assert f"charge_squared              < {limit:#.2g}" in table
    assert "no sample has charge" in table
    assert "+-" not in table


def test_few_charged_samples_are_told(capsys):
    few = ("exact", "schwinger", "--beta", "3", "--kappa", "0.2", "--shape", "4", "4", "--samples", "60", "--seed", "1")
    _, table, _ = run(capsys, *few)
    record = json.loads(run(capsys, *few, "--json")[1])
    assert record["errors"]["charge_squared"] > 0.3 * record["charge_squared"]
    assert "samples with charge: its error is uncertain" in record["notes"][0]
    assert record["notes"][0] in table
    many = ("exact", "schwinger", "--beta", "1", "--kappa", "0.2", "--shape", "3", "3", "--samples", "200", "--json")
    assert json.loads(run(capsys, *many)[1])["notes"] == []


def test_exact_schwinger_defines_what_it_prints(capsys):
    from refimpl.exact.schwinger_2x2 import LARGEST_BETA

    _, text, _ = run(capsys, "exact", "schwinger", "--help")
    words = " ".join(text.split())
    for shown in (
        "condensate: <Re tr D^-1>", "sum over all source and sink sites", "charge_susceptibility: charge_squared/(T X)",
        "winding_ceiling:", f"at most {LARGEST_BETA:g}", "antiperiodic in time", '"errors"',
    ):  # fmt: skip
        assert shown in words
    assert "%%" not in words
    assert "winding_ceiling:" in run(capsys, "exact", "u1", "--help")[1]
    assert "antiperiodic in time" in " ".join(run(capsys, "sample", "schwinger", "--help")[1].split())
    argv = "exact schwinger --beta 2 --kappa 0 --shape 4 4 --json"
    without = json.loads(run(capsys, *argv.split())[1])
    assert without["charge_squared"] == 16 * without["charge_susceptibility"] > 0


def test_reweighting_shows_progress_on_a_terminal(capsys, monkeypatch):
    import tqdm

    shown = []
    monkeypatch.setattr(tqdm.tqdm, "update", lambda bar, n=1: shown.append(n))
    argv = "exact schwinger --beta 1 --kappa 0.1 --shape 12 12 --samples 300"
    assert run(capsys, *argv.split())[0] == 0
    assert sum(shown) == 300
    assert len(shown) > 5


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exact schwinger --beta 2 --kappa -1 --shape 2 2", "argument --kappa"),
        ("exact schwinger --beta 2 --shape 2 2", "--kappa"),
        ("exact schwinger --beta 99 --kappa 0.1 --shape 2 2", "expected a number from 0 to 30"),
        ("exact schwinger --beta 2 --kappa 0.1 --shape 2 2 --samples 9", "by quadrature; leave it out"),
        ("exact schwinger --beta 2 --kappa 0 --shape 4 4 --samples 9", "a sum; leave it out"),
        (
            "exact su2 --beta 2 --shape 2 2 --samples 9",
            "--samples: got it without fermions, where every answer is a sum; leave it out",
        ),
    ],
)
def test_exact_with_fermions_refuses(capsys, command, message):
    code, _, err = run(capsys, *command.split())
    assert code == 2
    assert message in err
