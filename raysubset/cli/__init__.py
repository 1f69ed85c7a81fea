"""The command line: parse, call, print. Every fault the user can mend is one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; the entry point of ``raysubset`` and ``python -m raysubset``."""
    from raysubset.cli.app import run

    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))
