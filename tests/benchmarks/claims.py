"""Run the commands of README's table of claims, one after the other; print what each said, its time and the total.

    python tests/benchmarks/claims.py DATA_DIR              all of them
    python tests/benchmarks/claims.py DATA_DIR corr NAS     those whose claim or command holds one of these words
    python tests/benchmarks/claims.py --list                what would run

The printed figures are to be held against the README's, which carry their intervals; a claim is reproduced if they
lie inside. Output goes to claims/<number>.log, runs to claims/runs. DATA in a command stands for DATA_DIR.
Exit code 1 if a command failed.
"""

from __future__ import annotations

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
TAIL = 12  # lines shown of each


@dataclass(frozen=True, slots=True)
class Claim:
    """A command that a row of the table names; a row may need several, in order."""

    text: str
    figure: str
    command: str

    def argv(self, data: str) -> list[str]:
        """Return the command for this interpreter."""
        words = [data if word == "DATA" else word for word in shlex.split(self.command)]
        return [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]


def claims(readme: str) -> Iterator[Claim]:
    """Yield the claims of a README; rows that refer to another row's command have none of their own."""
    table = readme.partition("| claim | figure | command |")[2].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        text, figure, command = (cell.strip() for cell in row.strip().strip("|").split(" | "))
        for found in re.findall(r"`((?:raysubset|python) [^`]+)`", command):
            yield Claim(text, figure, found)


def main(data: str, words: list[str]) -> int:
    """Run, print, and return the exit code."""
    chosen = [
        claim
        for claim in claims((ROOT / "README.md").read_text(encoding="utf-8"))
        if not words or any(word.lower() in f"{claim.text} {claim.command}".lower() for word in words)
    ]
    if data == "--list":
        print("\n".join(claim.command for claim in chosen))
        return 0
    folder, failed, total = Path("claims"), 0, 0.0
    folder.mkdir(exist_ok=True)
    ours = {"RAYSUBSET_DATA": data, "RAYSUBSET_ROOT": str(folder.resolve() / "runs")}
    environment = {**os.environ, **ours, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    for number, claim in enumerate(chosen, 1):
        print(f"\n{number} of {len(chosen)}: {claim.text}\nREADME: {claim.figure}\n$ {claim.command}", flush=True)
        log, started = folder / f"{number}.log", perf_counter()
        with log.open("w", encoding="utf-8") as out:
            done = subprocess.run(
                claim.argv(data), cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
            )
        seconds = perf_counter() - started
        total, failed = total + seconds, failed + (done.returncode != 0)
        print("\n".join(log.read_text(encoding="utf-8").splitlines()[-TAIL:]))
        print(f"[{seconds:.0f} s, exit code {done.returncode}; {total / 60:.1f} min so far]", flush=True)
    print(f"\n{len(chosen)} commands in {total / 60:.1f} minutes, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
