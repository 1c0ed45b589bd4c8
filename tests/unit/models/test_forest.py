"""An exported forest scores as scikit-learn does, and a stored one cannot do harm."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from detectors.training import scores_of
from models import features, forest
from models.store import MAGIC, MOST_BYTES, ModelCard, ModelError, StoredModel, from_bytes, to_bytes


def points(seed: int, n: int = 2000) -> Any:
    """Oddities in steps of 1/256: most of them nothing, some far off."""
    rng = np.random.Generator(np.random.PCG64(seed))
    off = np.clip(rng.standard_t(3, (n, features.COUNT)), -8, 8)
    return (np.round(np.maximum(np.abs(off) - 1, 0) * 256) / 256).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    """Within 1e-6, kernel and arrays alike, also at the thresholds themselves."""
    given = points(seed)
    fitted = IsolationForest(n_estimators=64, max_samples=256, random_state=seed).fit(given)
    model = forest.exported(fitted)
    asked = points(seed + 100, 300)
    tree = fitted.estimators_[0].tree_
    cuts = [i for i in range(tree.node_count) if tree.feature[i] >= 0][:50]
    for row, cut in zip(asked, cuts, strict=False):
        row[tree.feature[cut]] = np.float32(tree.threshold[cut])
    theirs = -fitted.score_samples(asked)
    mine = [forest.score(tuple(map(float, one)), model) for one in asked]
    assert np.abs(mine - theirs).max() < 1e-6
    assert np.abs(scores_of(asked, model) - theirs).max() < 1e-6


def test_a_forest_that_does_not_fit_is_refused() -> None:
    """More trees than a model holds are no model."""
    fitted = IsolationForest(n_estimators=65, max_samples=16, random_state=1).fit(points(1, 50))
    with pytest.raises(ValueError, match="at most 64 trees"):
        forest.exported(fitted)


def stored() -> StoredModel:
    """A fitted model with a card."""
    fitted = IsolationForest(n_estimators=8, max_samples=256, random_state=1).fit(points(1))
    record = forest.exported(fitted)
    record["limit"], record["gravest"] = 0.6, 2
    card = ModelCard(
        trained_on=("a.jsonl",), events=5, seed=7, versions={"numpy": "2"}, note="a\x1b[31m"
    )
    return StoredModel(record, card)


def test_a_stored_model_is_the_same_model() -> None:
    """Arrays, card and hash come back; equal models are equal bytes."""
    model = stored()
    again = from_bytes(to_bytes(model))
    assert again.record.tobytes() == model.record.tobytes()
    assert (again.card, again.hash) == (model.card, model.hash)
    assert to_bytes(again) == to_bytes(model)


def test_every_damage_is_noticed() -> None:
    """A flipped bit, a cut or an addition anywhere is a ModelError, never another exception."""
    data = to_bytes(stored())
    chance = random.Random(3)
    for _ in range(300):
        at = chance.randrange(len(data))
        broken = bytearray(data)
        broken[at] ^= 1 << chance.randrange(8)
        for bad in (bytes(broken), data[:at], data + data[:at] + b"."):
            with pytest.raises(ModelError):
                from_bytes(bad)


def forged(change: Callable[[dict[str, Any]], None], arrays: bytes | None = None) -> bytes:
    """A file with another header or other arrays, and a checksum that fits."""
    data = to_bytes(stored())
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    header = json.loads(data[start:end])
    change(header)
    text = json.dumps(header).encode()
    packed = data[end:-32] if arrays is None else zlib.compress(arrays)
    body = MAGIC + len(text).to_bytes(4, "little") + text + packed
    return body + hashlib.sha256(body).digest()


def trees(look: Callable[[Any, Any], None]) -> bytes:
    """The arrays of the stored model, changed."""
    record = stored().record.copy()
    looks = record["look"].reshape(-1, forest.NODES)[:8].copy()
    values = record["value"].reshape(-1, forest.NODES)[:8].copy()
    look(looks, values)
    return bytes(looks.tobytes() + values.tobytes())


def put(which: int, node: int, value: float) -> Callable[[Any, Any], None]:
    """Set a node of the first tree: its cut (0) or its value (1)."""

    def change(*arrays: Any) -> None:
        arrays[which][0, node] = value

    return change


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (forged(lambda h: h.update(layout=99)), "other features"),
        (forged(lambda h: h.update(features=["pace"])), "other features"),
        (forged(lambda h: h.update(depth=30)), "8 deep"),
        (forged(lambda h: h.update(trees=65)), "from 1 to 64"),
        (forged(lambda h: h.update(trees=7.5)), "whole number"),
        (forged(lambda h: h.update(trees=True)), "from 1 to 64"),
        (forged(lambda h: h.update(trees=7)), "must take"),
        (forged(lambda h: h.update(limit=float("nan"))), "from 0 to 1"),
        (forged(lambda h: h.update(path=0.0)), "from 0.1"),
        (forged(lambda h: h.update(gravest="critical")), "info, low"),
        (forged(dict.clear), "other features"),
        (forged(dict, b"\0" * 100_000_000), "must take"),
        (forged(dict, trees(put(0, 3, features.COUNT))), "looks at no number"),
        (forged(dict, trees(put(0, 3, -2))), "looks at no number"),
        (forged(dict, trees(put(0, 400, 1))), "cuts deep"),
        (forged(dict, trees(put(1, 0, np.nan))), "not within"),
        (forged(dict, trees(put(1, 510, -1.0))), "shorter than nothing"),
        (b"\x80\x04cposix\nsystem\n", "no model"),
        (b"", "no model"),
        (b"x" * (MOST_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, says: str) -> None:
    """Whatever is in a file whose checksum fits: one line says what is wrong with it."""
    with pytest.raises(ModelError, match=says) as caught:
        from_bytes(data)
    assert "\n" not in str(caught.value)


def test_a_card_of_odd_types_is_read_without_them() -> None:
    """The card is for people: what does not fit is left out, and the model is used."""
    odd = {"seed": "x", "events": 3, "trained_on": 5, "versions": [1], "unknown": 1}
    model = from_bytes(forged(lambda h: h.update(card=odd)))
    assert model.card == ModelCard(events=3)
