"""Run the commands of README's table of claims, one after the other; print what each said and the seconds.

    python tests/benchmarks/claims.py DATA_DIR              all of them: two cores take under two hours
    python tests/benchmarks/claims.py DATA_DIR corr NAS     those that hold one of these words
    python tests/benchmarks/claims.py --list                what would run

The printed figures are to be held against the README's, which carry their intervals; a claim is reproduced if they
lie inside. Where a figure is over several seeds, the command is that of the first. DATA in a command stands for
DATA_DIR; runs go to claims/runs, output to claims/<number>.log, times to claims/done.json. What is done is not run
again (remove claims/ for that): its time counts in the total all the same, so a run of two hours may be cut in
pieces. Exit code 1 if a command failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
HEADING = "| claim | figure | command |"
TAIL = 12  # lines shown of each


@dataclass(frozen=True, slots=True)
class Claim:
    """A command that a row of the table names; a row may need several, in order."""

    text: str
    figure: str
    command: str

    def argv(self, data: str) -> list[str]:
        """Return the command for this interpreter; files of the repository by their whole path."""
        words = [data if word == "DATA" else word for word in shlex.split(self.command)]
        if words[0] != "python":
            return [sys.executable, "-m", *words]
        return [sys.executable, str(ROOT / words[1]), *words[2:]]

    def asked(self, words: list[str]) -> bool:
        """Say whether it is one of those to run."""
        return not words or any(word.lower() in f"{self.text} {self.command}".lower() for word in words)


def claims(readme: str) -> Iterator[Claim]:
    """Yield the claims of a README; rows that refer to another row's command have none of their own."""
    (table,) = readme.split(HEADING)[1:]
    for row in table.partition("\n\n")[0].splitlines()[2:]:
        text, figure, command = (cell.strip() for cell in row.strip().strip("|").split(" | "))
        for found in re.findall(r"`((?:raysubset|python) [^`]+)`", command):
            yield Claim(text, figure, found)


class Ledger:
    """What was done, and in how many seconds.

    Args:
        path: A file that holds it from one call to the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def done(self, command: str, seconds: float) -> None:
        """Note a command that went well."""
        self.seconds[command] = round(seconds, 1)
        self._path.write_text(json.dumps(self.seconds, indent=1) + "\n", encoding="utf-8")


def run(claim: Claim, data: str, folder: Path, log: Path) -> tuple[float, int]:
    """Run a command in a folder, its output in a file; returns seconds and exit code."""
    environment = {**os.environ, "RAYSUBSET_DATA": data, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    environment.pop("RAYSUBSET_ROOT", None)  # the commands of a row meet in runs/
    started = perf_counter()
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            claim.argv(data), cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
        )
    return perf_counter() - started, done.returncode


def main(data: str, chosen: list[Claim]) -> int:
    """Run, print, and return the exit code."""
    folder, failed, total = Path("claims").resolve(), 0, 0.0
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder / "done.json")
    for number, claim in enumerate(chosen, 1):
        print(f"\n{number} of {len(chosen)}: {claim.text}\nREADME: {claim.figure}\n$ {claim.command}", flush=True)
        if (before := ledger.seconds.get(claim.command)) is not None:
            total += before
            print(f"[done before in {before:.0f} s; {total / 60:.1f} min so far]")
            continue
        log = folder / f"{len(ledger.seconds) + failed + 1}.log"
        seconds, code = run(claim, data, folder, log)
        total, failed = total + seconds, failed + (code != 0)
        print("\n".join(log.read_text(encoding="utf-8").splitlines()[-TAIL:]))
        print(f"[{seconds:.0f} s, exit code {code}, {log}; {total / 60:.1f} min so far]", flush=True)
        if code == 0:
            ledger.done(claim.command, seconds)
    print(f"\n{len(chosen)} commands in {total / 60:.1f} minutes, {failed} failed")
    return int(failed > 0)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=lambda text: str(Path(text).resolve()), help="where data sets lie")
    parser.add_argument("words", nargs="*", help="only claims that hold one of these")
    parser.add_argument("--list", action="store_true", help="print all commands and end")
    asked = parser.parse_args()
    if asked.data is None and not asked.list:
        parser.error("DATA_DIR is missing")
    return asked


if __name__ == "__main__":
    asked = arguments()
    known = list(claims((ROOT / "README.md").read_text(encoding="utf-8")))
    if asked.list:
        print("\n".join(claim.command for claim in known))
        sys.exit(0)
    sys.exit(main(asked.data, [claim for claim in known if claim.asked(asked.words)]))
