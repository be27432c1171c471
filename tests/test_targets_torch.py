"""A user's code in PyTorch becomes a target in 15 lines; runs where there is a torch."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from refimpl.validation import check_target

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "tests" / "targets" / "torch_u1.py").read_text(encoding="utf-8")


def test_the_adapter_has_at_most_15_lines():
    adapter = SOURCE.partition("# --- the adapter")[2].partition("\n")[2].partition("# --- end")[0]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 15
    assert "torch.from_numpy" not in SOURCE.partition("# --- the adapter")[0]  # the user's part knows nothing of it


def test_the_readme_shows_this_file():
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    shown = [block for block in blocks if "class TorchU1" in block]
    if not shown:
        pytest.skip("the README does not show it yet")
    assert shown == [SOURCE.partition('README."""\n\n')[2]]


def test_it_passes():
    pytest.importorskip("torch")
    from .targets.torch_u1 import TorchU1

    report = check_target(TorchU1, level="smoke", seed=1)
    assert {verdict.status for verdict in report.verdicts} == {"pass", "skip"}
    passed = [verdict.check for verdict in report.verdicts if verdict.status == "pass"]
    for check in ("static.force_gradient", "maps.energy_scaling", "driver.seeds", "exact_start.plaquette_later"):
        assert check in passed


@pytest.mark.parametrize(
    ("before", "after", "check"),
    [
        ("x = x.detach()", "x = x.float()", "static.force"),  # single precision somewhere inside
        ("eps / 2 * force", "eps * force", "maps.energy_scaling"),
        ("manual_seed(seed % (2**32 - 5))", "manual_seed(1)", "driver.seeds"),
        ("manual_seed(seed % (2**32 - 5))", "manual_seed(seed)", "driver.seeds"),  # PyTorch drops the upper half
        ("torch.exp(-delta_h)", "torch.exp(delta_h)", "exact_start.energy_exchange"),
    ],
)
def test_wrong_ones_fail(before, after, check, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    assert before in SOURCE
    (tmp_path / "mutilated_torch_u1.py").write_text(SOURCE.replace(before, after), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mutilated_torch_u1", raising=False)
    target = import_module("mutilated_torch_u1").TorchU1
    report = check_target(target, level="smoke", seed=1, select=check)
    assert "fail" in {verdict.status for verdict in report.verdicts if verdict.check == check}
