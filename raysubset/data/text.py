"""Texts as vectors: counts of hashed words, each text of length 1.

No vocabulary is learnt, so the test texts cannot leak into it, and a stream of any size has the same columns [1].

References:
    [1] Weinberger et al., 2009, "Feature hashing for large scale multitask learning", arXiv:0902.2206.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError


def hashed_words(texts: Sequence[str], features: int = 1024) -> NDArray[np.float32]:
    """Return float32[n, features]: signed counts of hashed words (two letters or more, lower case), 2-norm 1.

    A text without a word is a row of zeros. Words that share a column are told apart by their signs on average.

    Raises:
        DataError: No text, something that is no text, or features < 1.

    Cost: 1 to 10 MB of text a second; 4 n features bytes.
    """
    if isinstance(texts, str) or not len(texts) or not all(isinstance(text, str) for text in texts):
        raise DataError("Texts must be a sequence of str, at least one.")
    if features < 1:
        raise DataError(f"features={features}, need at least 1 column.")
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(n_features=features, dtype=np.float32).transform(texts)
    return np.asarray(counts.toarray(), dtype=np.float32)
