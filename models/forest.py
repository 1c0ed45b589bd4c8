"""An isolation forest as plain arrays, scored without scikit-learn, the same compiled and plain.

A point that random cuts separate from all others after a few steps is unlike them (Liu, Ting, Zhou
2008). The score is ``2^(-mean path / c)``: near 1 for outliers, about 0.4 for what is usual. It is
scikit-learn's own, with the other sign, within 1e-6: its 64-bit thresholds are rounded down to 32
bits, which changes no comparison with a 32-bit number, and path lengths are rounded to 32 bits.

A tree is a heap of 511 nodes, eight cuts deep: the children of node i are 2i + 1 and 2i + 2. So
there are no pointers that could be wrong, and every walk ends. A cut holds the number it looks at
and the greatest value that goes left; a leaf holds -1 and its path length.

>>> import numpy as np
>>> model = example_model()
>>> usual = (0.0,) * features.COUNT
>>> unusual = (7.0, 0.0, 7.0, 0.0, 7.0, 0.0, 0.0, 0.0, 7.0, 0.0)
>>> round(score(usual, model), 3), round(score(unusual, model), 3)
(0.444, 0.598)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models import features, guard
from models.kernel import kernel

MOST_TREES = 64
DEPTH = 8
NODES = 2 ** (DEPTH + 1) - 1
LEAF = -1
COLLECT = -1
"""In place of the number of trees: tell every window, to train a model on them."""

MODEL = np.dtype(
    [
        ("trees", "i4"),  # 0 = there is no model
        ("limit", "f8"),  # score from which a window is an outlier among its peers
        ("gravest", "i1"),  # severity that its outliers reach at most: 1 = info, 2 = low
        ("path", "f8"),  # c: the mean path length that a score of 0.5 stands for
        ("look", "i1", (MOST_TREES * NODES,)),  # which number a cut looks at; LEAF
        ("value", "f4", (MOST_TREES * NODES,)),  # its threshold; a leaf's path length
    ]
)


@kernel
def path_length(numbers: features.Numbers, model: Any, tree: int) -> float:
    """Return how many cuts separate a point from the others in one tree."""
    node = 0
    for _ in range(DEPTH):
        look = int(model["look"][tree * NODES + node])
        if look < 0 or look >= features.COUNT:
            break
        threshold = 1.0 * float(model["value"][tree * NODES + node])
        node = 2 * node + (1 if numbers[look] <= threshold else 2)
    return 1.0 * float(model["value"][tree * NODES + node])


@kernel
def score(numbers: features.Numbers, model: Any) -> float:
    """Return how unlike all others a point is, 0 to 1."""
    trees = min(int(model["trees"]), MOST_TREES)
    total = 0.0
    for tree in range(trees):
        total += path_length(numbers, model, tree)
    mean = guard.ratio(total, trees * guard.real(model["path"]), 1.0)
    return guard.exp(-0.6931471805599453 * mean)


def average_path(n: int) -> float:
    """Return the mean path of an unsuccessful search among n points: scikit-learn's c(n)."""
    if n <= 1:
        return 0.0
    if n == 2:
        return 1.0
    return float(2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n)


def exported(estimator: Any) -> Any:
    """Return a fitted ``IsolationForest`` as a MODEL record, without a limit.

    ``max_samples`` must be 2^DEPTH at most, so that its trees are DEPTH deep, and every tree must
    look at all numbers.
    """
    trees = estimator.estimators_
    if len(trees) > MOST_TREES:
        msg = f"a model has at most {MOST_TREES} trees (got {len(trees)})"
        raise ValueError(msg)
    model = np.zeros((), MODEL)
    model["trees"] = len(trees)
    model["path"] = average_path(estimator.max_samples_)
    look = np.full((MOST_TREES, NODES), LEAF, np.int8)
    value = np.zeros((MOST_TREES, NODES), np.float32)
    for nth, one in enumerate(trees):
        tree = one.tree_
        waiting = [(0, 0, 0)]
        while waiting:
            node, place, depth = waiting.pop()
            left, right = int(tree.children_left[node]), int(tree.children_right[node])
            if left < 0:
                value[nth, place] = depth + average_path(int(tree.n_node_samples[node]))
                continue
            look[nth, place] = tree.feature[node]
            value[nth, place] = _down(float(tree.threshold[node]))
            waiting += [(left, 2 * place + 1, depth + 1), (right, 2 * place + 2, depth + 1)]
    model["look"], model["value"] = look.ravel(), value.ravel()
    return model


def _down(threshold: float) -> np.float32:
    """Return the greatest 32-bit number that is not above a threshold."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))


def example_model() -> Any:
    """Return a small model made by hand, for tests and examples: one cut for each number.

    What is odd by more than one deviation is alone after one cut, the rest after twelve.
    """
    model = np.zeros((), MODEL)
    model["trees"] = features.COUNT
    model["path"] = average_path(2**DEPTH)
    model["limit"] = 0.45
    model["gravest"] = 2
    look = np.full((MOST_TREES, NODES), LEAF, np.int8)
    value = np.zeros((MOST_TREES, NODES), np.float32)
    for nth in range(features.COUNT):
        look[nth, 0] = nth
        value[nth, :3] = (1.0, 12.0, 1.0)
    model["look"], model["value"] = look.ravel(), value.ravel()
    return model
