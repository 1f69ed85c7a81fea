"""Data three times the object store's size: does an epoch fit, and what does it cost against data in memory?

    python tests/benchmarks/bench_sharded_data.py [rows] [store MB] [epochs]

30,000 images of 3 x 64 x 64 (369 MB of pixels) in four parquet files, read through `ShardedDataset` by one worker:

    spilled   object store of 120 MB: blocks come back from disk, each once an epoch
    mapped    object store of 1.2 GB: all blocks are mapped

Every epoch trains on another tenth of the rows, drawn uniformly. The same epochs over the same rows in the
worker's own memory (after its memory was measured) alternate with them; throughputs are medians over the epochs,
"load" is batches of tensors with crop and flip, "train" is LeNet on top of it.
"""

from __future__ import annotations

import io
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from PIL import Image

import raysubset as rs
from raysubset.data.batches import ArraySource, Batch, RowSource, epoch_batches
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.models.catalog import build_model
from raysubset.runtime.shards import store_shards
from raysubset.runtime.store import StoredSplit
from raysubset.training.loop import train_epoch
from raysubset.training.optimizer import build_optimizer
from raysubset.types import Selection

SIDE, FILES, RATIO, BATCH = 64, 4, 0.1, 128
MB = 2**20


def write(folder: Path, rows: int) -> None:
    """Write noise as uncompressed PNG."""
    rng = np.random.default_rng(0)
    for number, part in enumerate(np.array_split(np.arange(rows), FILES)):
        images = rng.integers(0, 256, (len(part), SIDE, SIDE, 3), dtype=np.uint8)
        cells = [{"bytes": png(image)} for image in images]
        table = pa.table({"image": cells, "label": rng.integers(0, 10, len(part))})
        pq.write_table(table, folder / f"train-{number}.parquet", row_group_size=500, compression="none")


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def memory(field: str) -> float:
    """Return a field of this process's status in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) / 1024


class Worker:
    """Reads epochs as a trial does."""

    def __init__(self, stored: list[StoredSplit]) -> None:
        torch.set_num_threads(1)
        self.source = stored[0].open()
        self.transform = Transform((0.5,) * 3, (0.25,) * 3, flip=0.5, crop_padding=4)
        self.kind = type(self.source).__name__

    def selection(self, epoch: int) -> Selection:
        n = len(self.source)
        k = round(RATIO * n)
        rows = np.random.default_rng(epoch).permutation(n)[:k]
        return Selection(rows, np.ones(k, dtype=np.float32), n)

    def batches(self, source: RowSource, epoch: int) -> Iterator[Batch]:
        return epoch_batches(source, self.selection(epoch), self.transform, batch_size=BATCH, seed=0, epoch=epoch)

    def bounded(self, epochs: int) -> dict[str, Any]:
        """Go through some epochs and watch this process's memory and the blocks that it reads."""
        before, anonymous, shared = memory("RssAnon"), 0.0, 0.0
        reads = []
        for epoch in range(epochs):
            counted = self.source.reads.copy() if self.kind == "CachedSource" else None
            for _ in self.batches(self.source, epoch):
                anonymous, shared = max(anonymous, memory("RssAnon")), max(shared, memory("RssShmem"))
            if counted is not None:
                reads.append(self.source.reads - counted)
        return {
            "kind": self.kind,
            "own MB beyond the start": round(anonymous - before),
            "mapped MB": round(shared),
            "blocks": len(self.source.layout.starts) - 1,
            "blocks read an epoch": [int(each.sum()) for each in reads],
            "most reads of a block in an epoch": max((int(each.max()) for each in reads), default=0),
            "mapped at most, MB": round(self.source.cache.peak_bytes / MB) if reads else None,
        }

    def against_memory(self, epochs: int) -> dict[str, dict[str, float]]:
        """Time the same epochs from the source and from arrays: rows a second, by wall clock and by CPU time."""
        stream = self.source.stream(np.arange(len(self.source)))
        parts = [stream.take(min(1000, len(self.source) - at)) for at in range(0, len(self.source), 1000)]
        inputs, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        sources = {"sharded": self.source, "in memory": ArraySource(Split(inputs, labels))}
        recipe = rs.Recipe(epochs=epochs, batch_size=BATCH)
        model = build_model("lenet", num_classes=10, input_shape=(3, SIDE, SIDE), seed=0)
        optimizer = build_optimizer(model, recipe)

        def load(batches: Iterator[Batch]) -> None:
            for _ in batches:
                pass

        def train(batches: Iterator[Batch]) -> None:
            train_epoch(model, batches, optimizer, recipe, epoch=0, progress=lambda _: 0.0, rng_seed=0)

        work: dict[str, Callable[[Iterator[Batch]], None]] = {"load": load, "train": train}
        rates: dict[str, dict[str, float]] = {}
        for what, do in work.items():
            seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
            for epoch in range(epochs):
                for name, source in sources.items():
                    wall, cpu = perf_counter(), process_time()
                    do(self.batches(source, 100 + epoch))
                    seconds[name].append((perf_counter() - wall, process_time() - cpu))
            k = round(RATIO * len(self.source))
            for clock, place in (("wall", 0), ("CPU", 1)):
                medians = {name: statistics.median(each[place] for each in all_) for name, all_ in seconds.items()}
                rates[f"{what}, {clock}"] = {name: round(k / median) for name, median in medians.items()}
        return rates


def store_use() -> str:
    """Return what Ray says of the object store and its spilling."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
    return (
        f"store {stats.object_store_bytes_used / MB:.0f} of {stats.object_store_bytes_avail / MB:.0f} MB used, "
        f"spilled {stats.spilled_bytes_total / MB:.0f} MB, restored {stats.restored_bytes_total / MB:.0f} MB"
    )


def measure(name: str, folder: Path, store_mb: int, epochs: int) -> None:
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=store_mb * MB,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    try:
        data = rs.ShardedDataset.from_parquet(folder)
        before, started = memory("RssAnon"), perf_counter()
        (stored,) = store_shards(data.train)
        seconds = perf_counter() - started
        print(
            f"{name}: {len(stored)} rows, {stored.nbytes / MB:.0f} MB decoded in {seconds:.1f} s "
            f"({len(stored) / seconds:,.0f} rows/s), driver +{memory('RssAnon') - before:.0f} MB; {store_use()}"
        )
        worker = ray.remote(Worker).options(num_cpus=1).remote([stored])
        for key, value in ray.get(worker.bounded.remote(epochs)).items():
            print(f"    {key}: {value}")
        print(f"    {store_use()}")
        for key, rates in ray.get(worker.against_memory.remote(epochs)).items():
            share = rates["sharded"] / rates["in memory"]
            print(f"    {key}: {rates['sharded']:,} rows/s, in memory {rates['in memory']:,} ({share:.0%})")
    finally:
        ray.shutdown()


def main() -> None:
    rows, store_mb, epochs = ([int(a) for a in sys.argv[1:]] + [30_000, 120, 5][len(sys.argv) - 1 :])[:3]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), rows)
        for name, size in (("spilled", store_mb), ("mapped", 10 * store_mb)):
            measure(name, Path(folder), size, epochs)


if __name__ == "__main__":
    main()
