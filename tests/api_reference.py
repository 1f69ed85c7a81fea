"""Write the API reference, from docstrings, with warnings as errors: ``python tests/api_reference.py FOLDER``."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

import raysubset
import raysubset.testing


def main(folder: Path) -> None:
    """Write one page a module; ``folder``/index.html leads to them."""
    warnings.simplefilter("error")
    # pdoc looks for the types of inherited fields in the wrong module; mypy has checked that they resolve
    warnings.filterwarnings("ignore", r"Error parsing type annotation .* for .*\.__init__")
    for lazy in (raysubset, raysubset.testing):  # these load names when they are used; pdoc shows what is loaded
        for name in lazy.__all__:
            getattr(lazy, name)
    packages = [f"raysubset.{found.name}" for found in pkgutil.iter_modules(raysubset.__path__)]
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("raysubset", *(name for name in packages if name != "raysubset.__main__"), output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
