"""The tolerances of the tests, each with its reason."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from numpy.typing import ArrayLike, NDArray

# Wall clocks are no oracle: a shared machine may stall any example, so properties have no deadline.
PROPERTY = settings(max_examples=60, deadline=None)

# float64 against float64, a few dozen roundings of 1.1e-16 apart.
FLOAT64 = 1e-9

# Gains from float32 features against dense float64: 6e-8 a rounding, sums over tens of rows and features.
FLOAT32_GAIN = 1e-5

# Gumbel keys are reported to 1e-6 in the golden file.
GUMBEL_KEY = 1e-6

# Signals are float32: 6e-8 a rounding, a softmax over a few classes and a product; relative, with an absolute
# floor for entropies close to 0.
SIGNAL_RELATIVE = 2e-6
SIGNAL_ABSOLUTE = 1e-6

# Autograd of float32 networks against closed forms: sums over tens of features.
AUTOGRAD = 1e-4

DRAWS = 20_000  # about a second for a draw of 50 microseconds

# Kolmogorov-Smirnov: the seeds are fixed, so this p-value is passed once and for ever; a bias of 1 % of the range
# over 100,000 draws gives p < 1e-8.
KS_P_VALUE = 0.01

# Correlation of two independent streams of n numbers: sd 1 / sqrt(n); five of them.
CORRELATION_SIGMAS = 5.0

# A cover from float32 inner products, in units of the loss after one pick: D = |a|^2 + |b|^2 - 2 ab loses 5e-7 of
# the norms, and the norms are about the distances.
COVER_GAIN_FLOAT32 = 2e-6


def of_share(p: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Monte-Carlo error of a share p: five standard deviations, plus one draw for shares near 0.

    A fair sampler fails one seed in two million, and the seeds are fixed.
    """
    share = np.asarray(p, dtype=np.float64)
    return 5 * np.sqrt(share * (1 - share) / draws) + 1 / draws


# Two workers add up a gradient in another order than one: 6e-8 a rounding, through tens of steps of training.
TEAM = 1e-4
