"""The Hugging Face Trainer on chosen subsets: its loader gives a new subset each time it is iterated.

pip install transformers accelerate
python pipelines/own/hugging_face.py --epochs 10 --ratio 0.3
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import raysubset as rs


class Batches:
    """What the Trainer iterates once an epoch; ``epoch`` is the one that it is in."""

    def __init__(self, epochs: Iterator[Any]) -> None:
        self._epochs = epochs

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.epoch = next(self._epochs)
        return ({"batch": batch} for batch in self.epoch)


class SubsetTrainer(Trainer):
    """A Trainer whose rows a plan chooses; evaluation stays as it is."""

    def __init__(self, subset: rs.Subset, epochs: int, **options: Any) -> None:
        super().__init__(**options)
        self.batches = Batches(subset.epochs(epochs))

    def get_train_dataloader(self) -> Any:
        """Return the subsets."""
        return self.batches

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """Return the weighted loss; the epoch remembers what it says about each row."""
        batch = inputs["batch"]
        return self.batches.epoch.loss(model(pixel_values=batch.inputs).logits, batch)


def main() -> None:
    """Train a tiny vision transformer, from random weights, on the embedded digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--limit", type=int, help="Use only so many rows of each split.")
    asked = parser.parse_args()

    torch.manual_seed(0)
    data, plan = rs.load_dataset("embedded", limit=asked.limit), rs.SubsetPlan(ratio=asked.ratio)
    subset = rs.Subset(data, plan, batch_size=64)
    sizes = plan.resolved("full").timetable(len(data.train), asked.epochs).sizes
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=28,
        patch_size=7,
        num_channels=1,
        num_labels=data.num_classes,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = SubsetTrainer(
            subset,
            asked.epochs,
            model=ViTForImageClassification(config),
            args=TrainingArguments(
                folder,
                max_steps=int(sum(-(-size // 64) for size in sizes)),  # batches of all epochs
                learning_rate=3e-3,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                remove_unused_columns=False,
            ),
        )
        trainer.train()
    model = trainer.model.eval()
    with torch.no_grad():
        logits = model(pixel_values=subset.transform.evaluate(torch.tensor(data.test.inputs))).logits
    right = (logits.argmax(dim=1).numpy() == data.test.labels).mean()
    print(f"{trainer.batches.epoch.number + 1} epochs, test accuracy {right:.1%}")


if __name__ == "__main__":
    main()
