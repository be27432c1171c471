"""Chains that survive: parallel runs into a folder, resumed bit for bit; and the folder as arrays."""

from .description import description
from .executors import NAMES as EXECUTORS
from .folder import DamagedError, Manifest
from .reading import last_fields, load, load_fields, read_manifest, to_arviz
from .running import RunError, run

__all__ = [
    "EXECUTORS",
    "DamagedError",
    "Manifest",
    "RunError",
    "description",
    "last_fields",
    "load",
    "load_fields",
    "read_manifest",
    "run",
    "to_arviz",
]
