"""The tolerances of the tests, each with its reason."""

from __future__ import annotations

from hypothesis import settings

# Wall clocks are no oracle: a shared machine may stall any example, so properties have no deadline.
PROPERTY = settings(max_examples=60, deadline=None)

# float64 against float64, a few dozen roundings of 1.1e-16 apart.
FLOAT64 = 1e-9

# Gumbel keys are reported to 1e-6 in the golden file.
GUMBEL_KEY = 1e-6

# Signals are float32: 6e-8 a rounding, a softmax over a few classes and a product; relative, with an absolute
# floor for entropies close to 0.
SIGNAL_RELATIVE = 2e-6
SIGNAL_ABSOLUTE = 1e-6

# Autograd of float32 networks against closed forms: sums over tens of features.
AUTOGRAD = 1e-4

# Monte-Carlo of 20,000 draws: sd of a share <= sqrt(0.25 / 20,000) = 0.0035; five of them, so a fair sampler fails
# one seed in two million, and the seeds are fixed.
DRAWS = 20_000
SHARE_OF_DRAWS = 5 * (0.25 / DRAWS) ** 0.5

# Kolmogorov-Smirnov: the seeds are fixed, so this p-value is passed once and for ever; a bias of 1 % of the range
# over 100,000 draws gives p < 1e-8.
KS_P_VALUE = 0.01

# Correlation of two independent streams of n numbers: sd 1 / sqrt(n); five of them.
CORRELATION_SIGMAS = 5.0
