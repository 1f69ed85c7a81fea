"""The steps of `omp` in numba: one compiled loop, no temporary arrays.

The factor is kept as U = L^T, row-major, so that both substitutions and the rotations of a drop run along rows.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_compiled = numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})

FREE, CHOSEN, BARRED = 0, 1, 2


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous read-only view: numba compiles one function for it, not one for each kind of array."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@_compiled
def pursue(residuals, features, target, k, steps, lam, eps, dependent, rounding):  # type: ignore[no-untyped-def]
    """Run the pursuit; see `omp.matching_pursuit`.

    Args:
        residuals: float[n, c].
        features: float[n, h] of the same type, h = 0 for atoms without features.
        target: float64[c, h + 1].
        k: Most atoms.
        steps: Most steps.
        lam: Ridge.
        eps: Relative residual to stop at.
        dependent: Squared relative distance to the support's span below which an atom is barred.
        rounding: Cosine to the residual below which a correlation is rounding.

    Returns:
        int64[m] rows, float64[m] weights, and ||residual||.
    """
    n, c = residuals.shape
    h = features.shape[1]
    state = np.zeros(n, np.uint8)
    norms = _norms(residuals, features)
    upper = np.empty((k, k))  # pages are taken as they are written
    chosen_r, chosen_h = np.empty((k, c)), np.empty((k, h + 1))
    rows = np.empty(k, np.int64)
    y, weights, solution = np.empty(k), np.empty(k), np.empty(k)
    left = np.empty((c, h + 1))
    length = _residual(target, chosen_r, chosen_h, weights, 0, left)
    enough = eps * length
    m = 0
    for _ in range(steps):
        if m == k or length <= enough:
            break
        row = _best(residuals, features, left, norms, state, rounding * length)
        if row < 0:
            break
        for a in range(c):
            chosen_r[m, a] = residuals[row, a]
        for b in range(h):
            chosen_h[m, b] = features[row, b]
        chosen_h[m, h] = 1.0
        if not _append(upper, y, chosen_r, chosen_h, target, m, lam, dependent):
            state[row] = BARRED
            continue
        rows[m], weights[m] = row, 0.0
        state[row] = CHOSEN
        before, m = m, m + 1
        while not _advance(upper, y, weights, solution, m):
            m = _drop(upper, y, weights, rows, chosen_r, chosen_h, state, m)
        stayed = state[row] == CHOSEN
        if m - stayed < before:
            for i in range(n):  # what lay in the old span may not lie in the new one
                if state[i] == BARRED:
                    state[i] = FREE
        if not stayed:
            state[row] = BARRED  # it left at once: rounding
        length = _residual(target, chosen_r, chosen_h, weights, m, left)
    return rows[:m], weights[:m], length


@_compiled
def _norms(residuals, features):  # type: ignore[no-untyped-def]
    norms = np.empty(len(residuals), residuals.dtype)
    for i in range(len(residuals)):
        norms[i] = np.sqrt(_dot(residuals[i], residuals[i]) * (1 + _dot(features[i], features[i])))
    return norms


@_compiled
def _best(residuals, features, left, norms, state, noise):  # type: ignore[no-untyped-def]
    """The free row of largest correlation with ``left``, or -1 if none is above rounding."""
    n, c = residuals.shape
    h = features.shape[1]
    weight, bias = np.empty((c, h), residuals.dtype), np.empty(c, residuals.dtype)
    for a in range(c):
        bias[a] = left[a, h]
        for b in range(h):
            weight[a, b] = left[a, b]
    best, top = -1, 0.0
    for i in range(n):
        if state[i] != FREE:
            continue
        r, f = residuals[i], features[i]
        score = _dot(r, bias)
        a = 0 if h else c
        while a + 5 <= c:  # five sums a load of the features: half the time of one
            r0, r1, r2, r3, r4 = r[a], r[a + 1], r[a + 2], r[a + 3], r[a + 4]
            w0, w1, w2, w3, w4 = weight[a], weight[a + 1], weight[a + 2], weight[a + 3], weight[a + 4]
            for b in range(h):
                score += f[b] * (r0 * w0[b] + r1 * w1[b] + r2 * w2[b] + r3 * w3[b] + r4 * w4[b])
            a += 5
        while a < c:
            r0, w0 = r[a], weight[a]
            for b in range(h):
                score += f[b] * (r0 * w0[b])
            a += 1
        if score > top and score > noise * norms[i]:
            best, top = i, score
    return best


@_compiled
def _append(upper, y, chosen_r, chosen_h, target, m, lam, dependent):  # type: ignore[no-untyped-def]
    """Write column m of U and entry m of y; False if atom m lies in the span of the others."""
    r, f = chosen_r[m], chosen_h[m]
    column = np.empty(m)
    for i in range(m):
        column[i] = _dot(chosen_r[i], r) * _dot(chosen_h[i], f)
    for i in range(m):
        column[i] /= upper[i, i]
        value = column[i]
        for j in range(i + 1, m):
            column[j] -= value * upper[i, j]
    diagonal = _dot(r, r) * _dot(f, f) + lam
    pivot = diagonal - _dot(column, column)
    if pivot <= dependent * diagonal:
        return False
    goal = 0.0
    for a in range(len(r)):
        goal += r[a] * _dot(target[a], f)
    for i in range(m):
        goal -= column[i] * y[i]
        upper[i, m] = column[i]
    upper[m, m] = np.sqrt(pivot)
    y[m] = goal / upper[m, m]
    return True


@_compiled
def _advance(upper, y, weights, solution, m):  # type: ignore[no-untyped-def]
    """Move the weights to the free solution, or until the first of them is 0; True if they got there."""
    step = 1.0
    for i in range(m - 1, -1, -1):
        value = y[i]
        for j in range(i + 1, m):
            value -= upper[i, j] * solution[j]
        solution[i] = value / upper[i, i]
    first = -1
    for i in range(m):
        if solution[i] <= 0:
            reach = weights[i] / max(weights[i] - solution[i], 5e-324)
            if first < 0 or reach < step:
                first, step = i, reach
    for i in range(m):
        weights[i] += step * (solution[i] - weights[i])
        if weights[i] < 0:
            weights[i] = 0.0
    if first >= 0:
        weights[first] = -1.0  # marks the atom to drop
    return first < 0


@_compiled
def _drop(upper, y, weights, rows, chosen_r, chosen_h, state, m):  # type: ignore[no-untyped-def]
    """Remove the marked atom; Givens rotations bring U back to triangular form. Returns m - 1."""
    gone = 0
    while weights[gone] >= 0:
        gone += 1
    state[rows[gone]] = FREE
    carry = np.empty(m - 1 - gone)
    for j in range(gone, m - 1):
        carry[j - gone] = upper[gone, j + 1]
    carry_y = y[gone]
    for i in range(gone):
        for j in range(gone, m - 1):
            upper[i, j] = upper[i, j + 1]
    for i in range(gone, m - 1):
        below = upper[i + 1]
        lead = carry[i - gone]
        diagonal = np.hypot(below[i + 1], lead)
        cosine, sine = below[i + 1] / diagonal, lead / diagonal
        for j in range(i, m - 1):
            old = below[j + 1]
            upper[i, j] = cosine * old + sine * carry[j - gone]
            carry[j - gone] = cosine * carry[j - gone] - sine * old
        old = y[i + 1]
        y[i] = cosine * old + sine * carry_y
        carry_y = cosine * carry_y - sine * old
        weights[i], rows[i] = weights[i + 1], rows[i + 1]
        for a in range(chosen_r.shape[1]):
            chosen_r[i, a] = chosen_r[i + 1, a]
        for b in range(chosen_h.shape[1]):
            chosen_h[i, b] = chosen_h[i + 1, b]
    return m - 1


@_compiled
def _residual(target, chosen_r, chosen_h, weights, m, left):  # type: ignore[no-untyped-def]
    """Write target - sum_i w_i g_i into ``left`` and return its length."""
    for a in range(target.shape[0]):
        for b in range(target.shape[1]):
            left[a, b] = target[a, b]
    for i in range(m):
        for a in range(target.shape[0]):
            value = weights[i] * chosen_r[i, a]
            for b in range(target.shape[1]):
                left[a, b] -= value * chosen_h[i, b]
    total = 0.0
    for a in range(target.shape[0]):
        total += _dot(left[a], left[a])
    return np.sqrt(total)


@_compiled
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total
