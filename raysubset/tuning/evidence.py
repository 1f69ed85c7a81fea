"""A search's evidence: gathered once with a trial's resources, kept in the run's folder, shared by reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from raysubset.data.transform import Transform
from raysubset.experiment import Experiment
from raysubset.runtime.evidence import Evidence, gather_evidence
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.seeds import seed64
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint

EVIDENCE_FOLDER = "evidence"


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """Evidence in the object store, and what it cost."""

    context: ray.ObjectRef[Context]
    key: str
    samples: int
    seconds: float
    how: str


def shared_evidence(
    kept: Path, experiment: Experiment, train: StoredSplit, transform: Transform, num_classes: int, slots: Slots
) -> StoredEvidence:
    """Return the evidence of a run: from the folder ``kept`` if it was gathered already, else gathered now.

    Raises:
        ModelError: The plan asks for pretrained weights that cannot be had.
    """
    if not experiment.plan.habits.informed_at_start:
        evidence = _gather_here(experiment, train, transform, num_classes)
    elif kept.exists():
        evidence = _unpacked(load_checkpoint(kept))
    else:
        task = ray.remote(_gather).options(num_cpus=slots.cpus, num_gpus=slots.gpus)
        evidence = ray.get(task.remote(experiment, train, transform, num_classes, slots.gpus > 0))
        save_checkpoint(kept, _packed(evidence))
    return StoredEvidence(
        ray.put(evidence.context), evidence.key, evidence.samples, evidence.seconds, evidence.how
    )


def _gather(
    experiment: Experiment, train: StoredSplit, transform: Transform, num_classes: int, gpu: bool
) -> Evidence:
    torch.set_num_threads(1)  # this process is ours; two processes beat two threads
    return _gather_here(experiment, train, transform, num_classes, "cuda" if gpu else "cpu")


def _gather_here(
    experiment: Experiment, train: StoredSplit, transform: Transform, num_classes: int, device: str = "cpu"
) -> Evidence:
    return gather_evidence(
        experiment.plan,
        train.open(),
        transform,
        model=experiment.model,
        recipe=experiment.recipe,
        num_classes=num_classes,
        seed=seed64(experiment.seed, "evidence"),
        device=device,
    )


def _packed(evidence: Evidence) -> dict[str, Any]:
    context = evidence.context
    return {
        "pool_size": context.pool_size,
        "labels": context.labels,
        "signals": dict(context.signals),
        "features": context.features,
        "residuals": None if context.gradients is None else context.gradients.residuals,
        "logits": context.logits,
        "key": evidence.key,
        "samples": evidence.samples,
        "seconds": evidence.seconds,
        "how": evidence.how,
    }


def _unpacked(state: dict[str, Any]) -> Evidence:
    residuals, features = state["residuals"], state["features"]
    context = Context(
        state["pool_size"],
        state["labels"],
        state["signals"],
        features,
        None if residuals is None else Gradients(residuals, features),
        state["logits"],
    )
    return Evidence(context, state["key"], state["samples"], state["seconds"], state["how"])
