"""What is known of the sizes of a provider's event types before a sender has sent any.

A prior of a type is the mean and variance of a new sender's log sizes, and the weight in deliveries
that the fit gave it (variance within senders over variance between them). The row of a new type
begins with it, so that a far too large payload is news among a sender's first ones.

>>> import numpy as np
>>> prior, row = np.zeros(1, SIZES)[0], np.zeros(1, np.dtype(lognormal.FIELDS))[0]
>>> prior["types"][0], prior["means"][0], prior["weights"][0] = 7, 8.0, 12.0
>>> seed(prior, row, 5), lognormal.known(row), seed(prior, row, 7), lognormal.known(row)
(False, 0.0, True, 12.0)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models import guard, lognormal
from models.guard import real
from models.kernel import kernel

MOST_TYPES = 24
MOST_WEIGHT = 30.0
"""A prior weighs as much as a sender's first 30 deliveries, and no more."""
SIZES = np.dtype(
    [
        ("types", "i8", MOST_TYPES),  # keys of event types; 0 = no more
        ("means", "f8", MOST_TYPES),
        ("variances", "f8", MOST_TYPES),
        ("weights", "f8", MOST_TYPES),
    ]
)


@kernel
def seed(prior: Any, row: Any, event_type: int) -> bool:
    """Let an empty row begin with its type's prior; return whether there is one."""
    for i in range(MOST_TYPES):
        known = int(prior["types"][i])
        if known == 0:
            return False
        if known == event_type:
            var = guard.clip(real(prior["variances"][i]), 0.0, 100.0)
            weight = guard.clip(real(prior["weights"][i]), 0.0, MOST_WEIGHT)
            lognormal.begin(row, real(prior["means"][i]), var, weight)
            return True
    return False
