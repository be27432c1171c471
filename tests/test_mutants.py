"""The mutant matrix: every wrong implementation is killed by every check it names, every check kills something."""

from dataclasses import replace

import pytest

from refimpl.validation.checks import BY_ID
from refimpl.validation.evidence import EFFORTS
from refimpl.validation.mutants import BY_NAME, MUTANTS, run_mutants, table
from refimpl.validation.verdict import FAIL

pytestmark = pytest.mark.slow

STANDARD = EFFORTS["standard"]
QUARTER, HALF = (replace(STANDARD, name=f"1/{part}", chains=STANDARD.chains // part) for part in (4, 2))


@pytest.mark.parametrize("name", BY_NAME)
def test_mutant_is_killed_by_the_checks_it_names(name):
    # Few samples first: an alarm there is one at the standard level too, and most mutants are that bad.
    alive = BY_NAME[name].killed_by
    for level in ("smoke", QUARTER, HALF, "standard"):
        (kill,) = run_mutants([name], level=level, only=alive)
        alive = [verdict.check for verdict in kill.verdicts if verdict.status != FAIL]
        if not alive:
            break
    assert not alive, table([kill])


def test_the_bank_is_large_and_described():
    assert len(MUTANTS) >= 100
    assert len(BY_NAME) == len(MUTANTS)
    for mutant in MUTANTS:
        assert mutant.killed_by, mutant.__name__
        assert mutant.__doc__, mutant.__name__
        assert set(mutant.killed_by) <= set(BY_ID), mutant.__name__


def test_every_check_kills_a_mutant():
    named = {check for mutant in MUTANTS for check in mutant.killed_by}
    assert set(BY_ID) - named == set()
