"""Cluster files as mappings; a key given twice, which YAML would let pass, is a fault."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from raysubset.cluster.fault import Fault
from raysubset.errors import StorageError

Document = dict[str, Any]


def read_documents(file: Path) -> tuple[list[Document], list[Fault]]:
    """Read the YAML documents of a file.

    Nothing but plain data is made of it: tags that would build other objects are faults.

    Returns:
        The documents, mappings all, and what is wrong; one of the two is empty.

    Raises:
        StorageError: The file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        return [], [Fault("", f"byte {error.start} that is not UTF-8", "YAML in UTF-8")]
    try:
        documents = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except yaml.YAMLError as error:
        return [], [Fault("", " ".join(str(error).split()), "YAML")]
    for document in documents:
        if not isinstance(document, dict):
            return [], [Fault("", f"a {type(document).__name__}", "a mapping of keys")]
    return documents, [] if documents else [Fault("", "nothing", "a mapping of keys")]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            if isinstance(key.value, str):
                seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping
