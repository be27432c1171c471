"""The mutant matrix: every wrong implementation is killed by every check it names, every check kills something."""

import pytest

from refimpl.validation.checks import BY_ID
from refimpl.validation.mutants import BY_NAME, MUTANTS, run_mutants, table
from refimpl.validation.mutants.fermions_clay import SchwingerClay
from refimpl.validation.mutants.matrices_clay import MatrixClay


@pytest.mark.parametrize("name", BY_NAME)
def test_mutant_is_killed_by_the_checks_it_names(name):
    # Fermions and matrices are expensive: their mutants are made so bad that the smallest samples do.
    costly = issubclass(BY_NAME[name], SchwingerClay | MatrixClay)
    (kill,) = run_mutants([name], level="smoke" if costly else "standard")
    assert kill.killed, table([kill])


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
