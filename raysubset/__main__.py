"""``python -m raysubset``: the command line."""

from raysubset.cli import main

main()
