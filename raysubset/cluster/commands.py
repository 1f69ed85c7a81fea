"""What shell commands of a cluster file do: how they start Ray, and what they install."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_REQUIREMENT = re.compile(r"ray(\[[^\]]*\])?(?P<pin>[=<>~!].*)?")
_SEPARATORS = frozenset(";&|()")


@dataclass(frozen=True, slots=True)
class RayStart:
    """One ``ray start``.

    Attributes:
        head: Whether it starts a head.
        word: How ray is called, "ray" or a path to it.
        environment: Variables that the commands before it, or its own line, set.
        options: Option without dashes -> value, "" for a flag.
    """

    head: bool
    word: str
    environment: Mapping[str, str]
    options: Mapping[str, str]


def ray_starts(commands: Iterable[str]) -> list[RayStart]:
    """Find every ``ray start``; variables exported in one command do not reach the next one."""
    return [start for command in commands for start in _starts_of(command)]


def _starts_of(command: str) -> Iterator[RayStart]:
    exported: dict[str, str] = {}
    unexported: dict[str, str] = {}  # NAME=value as a command of its own: no program sees it
    for words in simple_commands(command):
        environment, rest = _assignments(words)
        if rest[:1] == ["export"]:
            exported |= _assignments(rest[1:])[0] | {
                name: unexported[name] for name in rest[1:] if name in unexported
            }
        elif not rest:
            unexported |= environment
        elif len(rest) > 1 and PurePosixPath(rest[0]).name == "ray" and rest[1] == "start":
            options = _options(rest[2:])
            yield RayStart("head" in options, rest[0], exported | environment, options)


def simple_commands(command: str) -> list[list[str]]:
    """Split a command line into its simple commands, each a list of words without quotes.

    An unbalanced quote gives none: the shell would refuse the line too.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if _SEPARATORS.issuperset(word):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:
        return []
    return [words for words in found if words]


def installed_packages(commands: Iterable[str]) -> list[str]:
    """List what ``pip install`` is given: requirements, folders, URLs."""
    packages = []
    for command in commands:
        for words in simple_commands(command):
            names = [PurePosixPath(word).name for word in words]
            pip = next((place for place, name in enumerate(names) if re.fullmatch(r"pip[0-9.]*", name)), None)
            if pip is not None and "install" in words[pip:]:
                packages += [word for word in words[words.index("install", pip) + 1 :] if not word.startswith("-")]
    return packages


def ray_pins(packages: Iterable[str]) -> list[str]:
    """List how ray is asked for: "==2.60.0", ">=2", or "" where any version would do."""
    found = (_REQUIREMENT.fullmatch(package.replace(" ", "")) for package in packages)
    return [match["pin"] or "" for match in found if match]


def installs_raysubset(packages: Iterable[str]) -> bool:
    """Whether raysubset is among them, by name, folder or URL."""
    return any("raysubset" in package.rstrip("/").rpartition("/")[2] for package in packages)


def _assignments(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split leading NAME=value words from the rest."""
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        if (match := _ASSIGNMENT.fullmatch(word)) is None:
            return found, words[place:]
        found[match[1]] = match[2]
    return found, []


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            following = words[place + 1] if place + 1 < len(words) else "--"
            options[name] = value if equals or following.startswith("--") else following
    return options
