"""Suites of golden vectors of fields: actions, forces, observables, trajectories, all in arithmetic of 50 digits or more.

Nothing here imports the package outside of the oracle: every answer is computed from the formulas once more.
"""
