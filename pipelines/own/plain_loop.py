"""A plain PyTorch loop on chosen subsets: the whole of what changes is marked.

python pipelines/own/plain_loop.py --epochs 10 --ratio 0.3
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import raysubset as rs


def accuracy(model: nn.Module, subset: rs.Subset, split: rs.Split) -> float:
    """Share of a split's rows that the model gets right."""
    model.eval()
    with torch.no_grad():
        logits = model(subset.transform.evaluate(torch.tensor(split.inputs)))
    model.train()
    return float((logits.argmax(dim=1).numpy() == split.labels).mean())


def main() -> None:
    """Train a small network on the embedded digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--limit", type=int, help="Use only so many rows of each split.")
    asked = parser.parse_args()

    torch.manual_seed(0)
    data = rs.load_dataset("embedded", limit=asked.limit)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    subset = rs.Subset(data, rs.SubsetPlan(ratio=asked.ratio))  # instead of a DataLoader
    for epoch in subset.epochs(asked.epochs):  # instead of range(epochs)
        for batch in epoch:
            loss = epoch.loss(model(batch.inputs), batch)  # instead of cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch.number}: {len(epoch)} rows by {epoch.metric}")
    print(f"test accuracy {accuracy(model, subset, data.test):.1%}")


if __name__ == "__main__":
    main()
