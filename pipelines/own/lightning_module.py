"""Lightning on chosen subsets: the loader of each epoch is that epoch's subset.

pip install lightning
python pipelines/own/lightning_module.py --epochs 10 --ratio 0.3
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import raysubset as rs


class OnSubsets(lightning.LightningModule):
    """Any classifier whose last layer is an ``nn.Linear``, trained on what a plan chooses."""

    def __init__(self, data: rs.Dataset, plan: rs.SubsetPlan, epochs: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
        self.data, self.subset = data, rs.Subset(data, plan)
        self.epochs = self.subset.epochs(epochs)

    def train_dataloader(self) -> Iterator[Any]:
        """Return the next epoch's batches; what the last one revealed is recorded here."""
        self.epoch = next(self.epochs)
        return iter(self.epoch)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave batches as they are: `Subset` has put them on its ``device``."""
        return (
            batch if hasattr(batch, "weight") else super().transfer_batch_to_device(batch, device, dataloader_idx)
        )

    def training_step(self, batch: Any, number: int) -> Tensor:
        """Return the weighted loss; the epoch remembers what it says about each row."""
        return self.epoch.loss(self.model(batch.inputs), batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test rows, as ever."""
        split = self.data.test
        inputs = self.subset.transform.evaluate(torch.tensor(split.inputs))
        return DataLoader(TensorDataset(inputs, torch.tensor(split.labels)), batch_size=256)

    def test_step(self, batch: list[Tensor], number: int) -> None:
        """Log the accuracy."""
        inputs, targets = batch
        self.log("test_accuracy", (self.model(inputs).argmax(dim=1) == targets).float().mean())


def main() -> None:
    """Train and test on the embedded digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--limit", type=int, help="Use only so many rows of each split.")
    asked = parser.parse_args()

    lightning.seed_everything(0, verbose=False)
    module = OnSubsets(
        rs.load_dataset("embedded", limit=asked.limit), rs.SubsetPlan(ratio=asked.ratio), asked.epochs
    )
    trainer = lightning.Trainer(
        max_epochs=asked.epochs,
        reload_dataloaders_every_n_epochs=1,  # a new epoch, a new subset
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    module.epochs.close()  # records the last epoch
    (tested,) = trainer.test(module, verbose=False)
    print(f"{module.epoch.number + 1} epochs, test accuracy {tested['test_accuracy']:.1%}")


if __name__ == "__main__":
    main()
