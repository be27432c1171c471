"""``python -m refimpl``."""

import sys

from .cli import main

if __name__ == "__main__":  # the workers of mpi4py.futures import this under another name
    sys.exit(main())
