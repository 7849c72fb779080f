"""Which objects of a result somebody wants to see: by their class, status and confidence."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Matches = NDArray[np.bool_]
"""`(n,)`; True = matches."""


class ObjectFilter(msgspec.Struct, frozen=True):
    """Which objects somebody wants to see."""

    class_name: str | None
    """None = of any class, and of none. Of an object with several labels one is enough."""
    status: str | None
    """None = any."""
    low: float
    """Least confidence, 0 to 1; 0 takes objects without one, too."""
    high: float
    """Greatest confidence, 0 to 1."""

    def labels(self, texts: pa.Array | pa.ChunkedArray) -> Matches:
        """Return which labels match, null = the object has none."""
        if self.class_name is None:
            return np.ones(len(texts), np.bool_)
        names = pc.binary_join_element_wise(";", pc.fill_null(texts, ""), ";", "")
        return np.asarray(pc.match_substring(names, f";{self.class_name};"), np.bool_)

    def statuses(self, texts: pa.Array | pa.ChunkedArray) -> Matches:
        """Return which values of the status match."""
        if self.status is None:
            return np.ones(len(texts), np.bool_)
        return np.asarray(pc.equal(texts, self.status), np.bool_)

    def confidences(self, values: NDArray[np.float64]) -> Matches:
        """Return which confidences match, NaN = the object has none."""
        with np.errstate(invalid="ignore"):
            return ((values >= self.low) & (values <= self.high)) | (np.isnan(values) & (self.low == 0))
