"""Values that lie in one buffer: to be looked at one by one, or to be decoded in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class Spanned(Sequence[bytes]):
    """A sequence of values that are made only when somebody asks for one.

    >>> values = Spanned(b"abcde", np.array([[0, 2], [2, 2], [3, 5]]))
    >>> list(values), b"de" in values, list(values[1:])
    ([b'ab', b'', b'de'], True, [b'', b'de'])
    """

    def __init__(self, buffer: bytes | memoryview, spans: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.spans = spans

    def __len__(self) -> int:
        return len(self.spans)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Spanned: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Spanned(self.buffer, self.spans[at])
        start, end = self.spans[at]
        return bytes(self.buffer[start:end])
