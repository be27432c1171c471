"""The arrows of the package point one way, and importing it stays cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import modules of lower levels, and of its own where it is the same folder.
LEVELS = {
    "files": 0,
    "lattice": 0,
    "groups": 0,
    "exact": 0,
    "statistics": 0,
    "streams": 0,
    "actions": 1,
    "observables": 2,
    "fits": 3,
    "nets": 1,
    "maps": 2,
    "estimators": 3,
    "kernels": 3,
    "models": 3,
    "theories": 3,
    "analysis": 4,
    "training": 4,
    "chains": 4,
    "tuning": 4,
    "ensembles": 4,
    "reproduce": 5,
    "validation": 5,
    "cli": 6,
    "__main__": 7,
}


def imported_modules(path, package):
    """Absolute names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def sources():
    for top, package in ((ROOT / "refimpl", "refimpl"), (ROOT / "validation", "refimpl.validation")):
        for path in sorted(top.rglob("*.py")):
            inside = path.relative_to(top)
            if package == "refimpl" and inside.parts[0] in ("validation", "data"):
                continue
            yield path, ".".join([package, *inside.parts[:-1]]), inside


ALL = list(sources())


@pytest.mark.parametrize(("path", "package", "inside"), ALL, ids=[str(path.relative_to(ROOT)) for path, _, _ in ALL])
def test_imports_point_down(path, package, inside):
    own = "validation" if package.startswith("refimpl.validation") else inside.parts[0].removesuffix(".py")
    for name in imported_modules(path, package):
        parts = name.split(".")
        if parts[0] != "refimpl" or len(parts) < 2 or parts[1] not in LEVELS or own == "__init__":
            continue
        assert parts[1] == own or LEVELS[parts[1]] < LEVELS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "refimpl" / "exact").glob("*.py")), ids=lambda p: p.name)
def test_exact_answers_share_no_code_with_what_they_judge(path):
    for name in imported_modules(path, "refimpl.exact"):
        assert not name.startswith("refimpl") or name.startswith("refimpl.exact"), name
        assert name.split(".")[0] in {*sys.stdlib_module_names, "numpy", "scipy", "refimpl"}, name


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "validation" / "checks").glob("*.py")),
        *sorted((ROOT / "validation" / "theories").glob("*.py")),
        *sorted((ROOT / "validation").glob("measure*.py")),
    ],
    ids=lambda p: p.name,
)
def test_checks_measure_by_themselves(path):
    for name in imported_modules(path, "refimpl.validation.checks"):
        assert not name.startswith(("refimpl.lattice", "refimpl.groups", "refimpl.actions", "refimpl.observables")), (
            name
        )
        assert not name.startswith(("refimpl.maps", "refimpl.kernels")), name


def test_import_is_lean():
    code = (
        "import sys, refimpl; print([m for m in sys.modules if m in "
        "('scipy.stats', 'scipy.special', 'scipy.optimize', 'autograd', 'tqdm', 'hypothesis', 'pytest')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_no_module_is_two_things():
    for path, _, _ in ALL:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
