"""Which checks see which bug on the built-in targets: the knowledge behind what `refimpl mutants TARGET` advises.

Of every bug the built-in target that it was tried on, see `HOMES`, and the checks that failed there, with the level at which they
did: the first of "smoke" and "standard". A test proves it.
"""

from __future__ import annotations

KILLERS: dict[str, dict[str, str]] = {}
