"""What is wrong with a cluster file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file.

    Attributes:
        key: Path of the key, dots between its parts; "" for the file as a whole.
        found: What stands there, or "nothing".
        allowed: What may stand there, and why where that is not plain.
    """

    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """Return the fault as one line, without the file."""
        return f"{self.key or 'the file'}: found {self.found}; allowed: {self.allowed}"
