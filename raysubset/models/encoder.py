"""Fixed features of a data set: of a pretrained ResNet-50, or principal components where there are no weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.error import URLError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from raysubset.errors import ModelError
from raysubset.models.mode import evaluation_mode

PIXELS = 224  # what the weights were trained on
COMPONENTS = 64
PCA_ROWS = 10_000  # principal components of a sample: their error falls like 1 / sqrt(rows)
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class PretrainedEncoder(nn.Module):
    """ResNet-50 with ImageNet weights, without its classifier: images in [0, 1] to 2,048 features.

    Raises:
        ModelError: The weights are neither in torch's hub folder nor to be downloaded.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        from torchvision.models import ResNet50_Weights, resnet50  # two seconds that no other worker should pay

        super().__init__()
        try:
            network = resnet50(weights=ResNet50_Weights.DEFAULT, progress=False)
        except (OSError, URLError, RuntimeError) as error:
            raise ModelError(
                f"The weights of ResNet-50 cannot be had ({error}): put {ResNet50_Weights.DEFAULT.url} into "
                "torch's hub folder ($TORCH_HOME/hub/checkpoints), or use the embedding 'scout' or 'pca'."
            ) from error
        network.fc = nn.Identity()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map images float[B, 1 or 3, H, W] in [0, 1] to features float[B, 2048]."""
        colour = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)
        scaled = interpolate(colour, size=(PIXELS, PIXELS), mode="bilinear", antialias=True, align_corners=False)
        features: Tensor = self.network((scaled - self.mean) / self.spread)
        return features


def encode(encoder: nn.Module, batches: Iterable[Tensor]) -> NDArray[np.float32]:
    """Return float32[n, d], the features of all batches in order. Cost: one forward pass a row."""
    with evaluation_mode(encoder), torch.inference_mode():
        return np.concatenate([encoder(batch).float().cpu().numpy() for batch in batches]).astype(np.float32)


def principal_components(
    chunks: Iterator[NDArray[np.float32]], sample: NDArray[np.float32], seed: int
) -> NDArray[np.float32]:
    """Return float32[n, d], the first min(64, width, rows - 1) principal components of all chunks in order.

    Args:
        chunks: Rows, float32[?, width] each.
        sample: float32[m, width], the rows that the components are fitted to (`PCA_ROWS` of them are plenty).
        seed: Of the randomised decomposition.

    Cost: O(m width d + n width d) time; one chunk in memory.
    """
    from sklearn.decomposition import PCA

    components = max(1, min(COMPONENTS, sample.shape[1], len(sample) - 1))
    fitted = PCA(components, svd_solver="randomized", random_state=seed % 2**32).fit(sample)
    return np.concatenate([fitted.transform(chunk) for chunk in chunks]).astype(np.float32)
