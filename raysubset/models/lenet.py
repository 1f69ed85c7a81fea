"""LeNet-5 with ReLU and max pooling: conv 6, conv 16, then 120, 84 and the classes.

References:
    [1] LeCun, Bottou, Bengio, Haffner, 1998, doi:10.1109/5.726791. The second convolution sees all six maps.
"""

from __future__ import annotations

from torch import Tensor, nn

from raysubset.models.shapes import image_shape

SMALLEST_IMAGE = 16
_KERNEL = 5
_NATIVE_IMAGE = 32  # LeNet's own size; smaller images, such as MNIST's 28, are padded by 2


class LeNet(nn.Module):
    """LeNet-5 for float32[B, C, H, W] with H, W >= 16; logits float32[B, num_classes].

    61,706 parameters at 1x28x28 and 10 classes; the flattened width follows the image.

    Raises:
        OptionsError: ``input_shape`` is not (C, H, W) or smaller than 16x16.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = image_shape("lenet", input_shape, SMALLEST_IMAGE)
        padding = 2 if min(height, width) < _NATIVE_IMAGE else 0
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, _KERNEL, padding=padding),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, _KERNEL),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * _after_features(height, padding) * _after_features(width, padding), 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits


def _after_features(size: int, padding: int) -> int:
    """Length of one side of the image after both convolutions and poolings."""
    pooled = (size + 2 * padding - _KERNEL + 1) // 2
    return (pooled - _KERNEL + 1) // 2
