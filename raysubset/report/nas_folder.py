"""The folder of an architecture search, read for its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysubset.errors import RecordError, StorageError
from raysubset.report.nas_info import NasInfo
from raysubset.report.records import RECORDS_FILE, Records, read_records
from raysubset.report.selections import Selections, read_selections

ALPHAS_FILE, CANDIDATES_FILE, CELL_FILE = "alphas.jsonl", "candidates.jsonl", "cell.svg"


@dataclass(frozen=True, slots=True)
class NasSearch:
    """What a search's folder holds.

    Attributes:
        info: nas.json.
        records: Epochs of all trainings.
        candidates: (cell, score), in the order in which they were judged.
        alphas: A mapping an epoch, as alphas.jsonl has it.
        cell_svg: The picture of the found cell, b"" where there is none yet.
        selections: Which rows the supernet was trained on, None where that is not known.
    """

    info: NasInfo
    records: Records
    candidates: tuple[tuple[str, float], ...]
    alphas: tuple[Mapping[str, Any], ...]
    cell_svg: bytes
    selections: Selections | None = None

    @property
    def finished(self) -> bool:
        """True once a cell was found."""
        return self.info.cell is not None


def read_search(folder: Path) -> NasSearch:
    """Read a search's folder; what is not there yet is empty.

    Raises:
        StorageError: A file cannot be read.
        RecordError: A file's content is bad; the message names file and line.
    """
    path = folder / RECORDS_FILE
    judged = _lines(folder / CANDIDATES_FILE, ("cell", "score"))
    try:
        cell = (folder / CELL_FILE).read_bytes() if (folder / CELL_FILE).exists() else b""
    except OSError as error:
        raise StorageError(f"Cannot read {folder / CELL_FILE}: {error.strerror or error}.") from error
    return NasSearch(
        info=NasInfo.read(folder),
        records=read_records(path) if path.exists() else Records(()),
        candidates=tuple((str(one["cell"]), float(one["score"])) for one in judged),
        alphas=tuple(_lines(folder / ALPHAS_FILE, ("epoch",))),
        cell_svg=cell,
        selections=read_selections(folder),
    )


def _lines(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    try:
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    found = []
    for place, line in enumerate(whole, 1):
        try:
            plain = json.loads(line)
            found.append({**plain, **{name: plain[name] for name in needed}})
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}, line {place}: {type(error).__name__}: {error}.") from error
    return found
