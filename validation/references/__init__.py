"""Targets and functions of this package, entering by the same door as a stranger."""
