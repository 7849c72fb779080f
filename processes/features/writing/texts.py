"""Columns of texts, put together by Arrow: no Python object for each, and beside other threads of Python."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

TEXT = pa.large_string()


def joined(*parts: pa.Array | str, skips_null: bool = False) -> pa.Array:
    """Return texts one behind the other, row by row, `(n,)`.

    Args:
        parts: columns, and what stands in each row. With `skips_null` there is one of the latter, without which Arrow
            leaves out whole rows.
        skips_null: True = a null adds nothing; False = it makes its row null.
    """
    columns = [pa.scalar(part, TEXT) if isinstance(part, str) else part for part in parts]
    null_handling = "skip" if skips_null else "emit_null"
    return pc.binary_join_element_wise(*columns, pa.scalar("", TEXT), null_handling=null_handling)


def joined_lists(texts: pa.Array, offsets: ArrayLike, separator: str) -> pa.Array:
    """Return the texts of each list as one, `(n,)`.

    Args:
        texts: of all lists, one list behind the other, without nulls.
        offsets: where each list begins, and where the last one ends, `(n + 1,)`.
        separator: between two texts of a list.
    """
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), texts)
    return pc.binary_join(lists, pa.scalar(separator, TEXT))


def in_one(texts: pa.Array, separator: str) -> pa.Buffer:
    """Return all texts as one, in UTF-8."""
    return joined_lists(texts, [0, len(texts)], separator)[0].as_buffer()
