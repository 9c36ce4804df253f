"""How well the recording determines the fitted parameters."""

from typing import NamedTuple

import numpy as np

from ._objective import Linearised
from ._space import Bound, Space

_Z = 1.959964  # 95 % of a normal distribution


class Interval(NamedTuple):
    """95 % interval of a parameter in its own units, or NaN and a note why there is none."""

    low: np.ndarray
    high: np.ndarray
    note: str


def confidence(space: Space, u: np.ndarray, at: Linearised, *, likelihood: bool) -> list[Interval]:
    """An interval for every free parameter, from the curvature at the optimum `u` and the scores of blocks of bins.

    With H the Gauss-Newton matrix of the cost and s_b the score of block b, the covariance in unconstrained
    coordinates is Laplace's, H^-1 for a negative log-likelihood and 2 sigma² H^-1 for squares with the variance
    sigma² of the residuals; or, if that is wider, the sandwich H^-1 (sum_b s_b s_b') H^-1, which holds where
    residuals are correlated within blocks or the model is not the truth. Intervals are symmetric in those
    coordinates.

    Huber (1967), Proc. 5th Berkeley Symposium 1:221; White (1982), Econometrica 50:1, doi:10.2307/1912526.
    """
    cost, weight, h, scores = (np.asarray(x[0], float) for x in (at.cost, at.weight, at.information, at.scores))
    bare = np.sqrt(np.diag(h))
    felt = bare > 1e-7 * max(bare.max(), 1e-30)
    scale = np.where(felt, bare, 1.0)
    values, vectors = np.linalg.eigh(h / np.outer(scale, scale) + np.diag(~felt * 1.0))
    smallest = 1e-6 if at.information.dtype == np.float32 else 1e-10
    inverse = (vectors / np.maximum(values, smallest)) @ vectors.T / np.outer(scale, scale)
    laplace = inverse * (1.0 if likelihood else 2 * cost / max(weight - len(u), 1.0))
    blocks = len(scores)
    centred = scores - scores.mean(0)
    sandwich = inverse @ (centred.T @ centred * blocks / max(blocks - 1, 1)) @ inverse
    sd = np.sqrt(np.maximum(np.diag(laplace), np.diag(sandwich)))

    names = _element_names(space)
    weakest = vectors[:, 0] / scale  # the direction in which the parameters trade off, in coordinates
    found, start = [], 0
    for bound, part in zip(space.bounds, space.parts(u), strict=True):
        stop = start + bound.size
        low, high, notes = [], [], []
        for i, x in zip(range(start, stop), np.reshape(part, -1), strict=True):
            note = _why_not(bound, x, sd[i], felt[i])
            if note.startswith("not determined") and values[0] < 0.05:
                shares = np.abs(weakest) / np.abs(weakest).max()
                others = [names[j] for j in np.argsort(-shares) if j != i and shares[j] > 0.2 and felt[j]]
                if shares[i] > 0.2 and others:
                    note += f": trades off against {', '.join(others)}"
            notes.append(note)
            edges = bound.value(np.array([x - _Z * sd[i], x + _Z * sd[i]])) if not note else (np.nan, np.nan)
            low.append(edges[0])
            high.append(edges[1])
        shape = np.shape(part)
        said = "; ".join(dict.fromkeys(filter(None, notes)))
        found.append(Interval(np.reshape(low, shape), np.reshape(high, shape), said))
        start = stop
    return found


def _why_not(bound: Bound, u: float, sd: float, felt: bool) -> str:
    """Why a parameter has no interval; empty if it has one."""
    s = lambda x: 1 / (1 + np.exp(-np.clip(x, -50, 50)))
    if not felt:
        return "the loss does not depend on it"
    if s(u) < 0.005:
        return "at its lower bound"
    if s(u) > 0.995:
        return "at its upper bound"
    if not np.isfinite(sd) or s(u + _Z * sd) - s(u - _Z * sd) > 0.9:
        return "not determined within its bounds"
    return ""


def _element_names(space: Space) -> list[str]:
    """The name of every coordinate: `"g_l"`, or `"tau[3]"` of an array."""
    return [
        bound.name if bound.leaf.value.ndim == 0 else f"{bound.name}[{i}]"
        for bound in space.bounds
        for i in range(bound.size)
    ]
