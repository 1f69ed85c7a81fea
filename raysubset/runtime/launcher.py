"""Files of ``ray up`` held against Ray's own rules and ours; no cloud is asked, none of its libraries needed."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ray
import ray.autoscaler
from jsonschema import Draft7Validator, ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from raysubset.cluster.fault import Fault
from raysubset.cluster.launcher import PROVIDERS, launcher_faults


def launcher_file_faults(documents: Sequence[Mapping[str, Any]], instances: Collection[str] = ()) -> list[Fault]:
    """Check a file for ``ray up`` offline.

    Wrong types and missing parts are named first, alone: all else builds on them. Then Ray prepares the file,
    fills in its defaults, and what comes out is held against Ray's schema, our rules and, last, Ray's checks.

    Args:
        documents: The YAML documents of the file; it must be one.
        instances: Machine types that are fine although unknown.
    """
    if len(documents) != 1:
        return [Fault("", f"{len(documents)} YAML documents", "one, or a RayCluster of KubeRay among them")]
    (raw,) = documents
    if faults := [*_shape_faults(raw)]:
        return faults
    try:
        config = _prepared(raw)
    except Exception as error:  # Ray aborts by click, asserts, or stumbles over what it did not expect
        return [Fault("", f"what Ray cannot prepare ({error})", "see Ray's cluster YAML reference")]
    faults = [_of_schema(error) for error in _schema().iter_errors(config)]
    faults += [fault for fault in launcher_faults(raw, config, ray.__version__, instances) if fault not in faults]
    if not faults:
        try:
            validate_config(config)
        except (ValidationError, ValueError, RuntimeError) as error:
            return [Fault("", f"what Ray refuses ({error})", "see Ray's cluster YAML reference")]
    return faults


def _prepared(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Let Ray fill in its defaults; what it prints meanwhile is dropped, for our faults say it."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        prepared: dict[str, Any] = prepare_config(json.loads(json.dumps(raw)))
    return prepared


def _schema() -> Draft7Validator:
    folder = Path(str(ray.autoscaler.__file__)).parent
    return Draft7Validator(json.loads((folder / "ray-schema.json").read_text(encoding="utf-8")))


def _shape_faults(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Name wrong types and a provider that cannot be checked, before anything is computed from them."""
    wrong = [error for error in _schema().iter_errors(raw) if error.validator in ("type", "minimum", "required")]
    for error in wrong:
        if not (error.validator == "required" and "available_node_types" in error.absolute_path):
            yield _of_schema(error)
    provider = raw.get("provider")
    if wrong or not isinstance(provider, dict):
        return
    if provider.get("type") not in PROVIDERS:
        yield Fault("provider.type", repr(provider.get("type")), f"{', '.join(PROVIDERS)}, or a RayCluster")
    elif provider["type"] == "local":
        for key in ("head_ip", "worker_ips"):
            if key not in provider:
                yield Fault(f"provider.{key}", "nothing", "the addresses of the head and of the workers")
        if raw.get("available_node_types"):
            yield Fault("available_node_types", "node types", "none: own machines stand in provider.worker_ips")
    else:
        for key in ("available_node_types", "head_node_type"):
            if not raw.get(key):
                yield Fault(key, "nothing", "the node types, and which of them is the head; no default")


def _of_schema(error: ValidationError) -> Fault:
    """Say what Ray's schema says, in our words."""
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        unknown = sorted(set(error.instance) - set(known))
        near = {match for name in unknown for match in get_close_matches(str(name), known, n=1)}
        hint = f"perhaps {', '.join(sorted(near))}; " if near else ""
        return Fault(
            key, f"unknown {', '.join(map(repr, unknown))}", f"{hint}known are {', '.join(sorted(known))}"
        )
    if error.validator == "required":
        return Fault(key, error.message, f"all of {', '.join(error.validator_value)}")
    found = repr(error.instance)
    allowed = f"{error.validator} {error.validator_value}"
    return Fault(key, found if len(found) < 60 else f"{found[:57]}...", allowed)
