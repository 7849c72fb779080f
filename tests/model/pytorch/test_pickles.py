"""Pickles are read as data, whatever they hold: what is no part of weights ends it, and none costs more than it is long."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import time
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest

from processes.errors import PackageError
from processes.model.pytorch.pickles import INERT_VALUE, read_pickle
from tables import each_row

LONG = "x" * 2**20


def read(operations: bytes) -> object:
    return read_pickle(io.BytesIO(operations))


@each_row("protocol", range(2, 6))
def test_plain_values_are_read_as_python_reads_them(protocol: int) -> None:
    value = {
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, 2**80, 0.5],
        "texts": ["", "ä", "x" * 300],
        "others": (None, True, False, (), (1,), (1, 2), (1, 2, 3, 4)),
        "inside": {"a": {"b": []}, "": {}},
    }
    assert read(pickle.dumps(value, protocol)) == value


def test_keys_that_are_no_names_are_left_out() -> None:
    assert read(pickle.dumps({1: 2, ("a",): 3, None: 4, "a": 5, LONG: 6}, 2)) == {"a": 5}


def test_what_optimisers_keep_is_inert() -> None:
    value: dict[str, Any] = {
        "rate": np.float64(0.1),
        "rates": np.arange(3.0),
        "set": {1, 2},
        "frozen": frozenset((1,)),
        "slice": slice(1, 2),
        "complex": 1j,
        "default": defaultdict(list, {"a": [1]}),
        "bytes": bytearray(b"a"),
        "empty": bytearray(),
        "range": range(3),
    }
    for protocol in (2, 4):
        found = read(pickle.dumps(value, protocol))
        assert isinstance(found, dict)
        assert found == dict.fromkeys(value, INERT_VALUE)
    assert read(pickle.dumps(OrderedDict(a=1), 2)) == {"a": 1}


@each_row(
    "operations",
    [
        b"",
        b"\x80",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02t.",
        b"\x80\x02u.",
        b"\x80\x02N(u.",
        b"\x80\x02}(X\x01\x00\x00\x00au.",
        b"\x80\x02h\x01.",
        b"\x80\x02]b.",
        b"\x80\x02NR.",
        b"\x80\x02NNR.",
        b"\x80\x02NNb.",
        b"\x80\x02(Nlu.",
        b"\x80\x02)Q.",
        b"\x80\x02NQ.",
        b"\x80\x02cfoo\n.",
        b"\x80\x02cfoo\n\xff\n.",
        b"\x80\x02NN\x93.",
        b"\x80\x02\xff.",
        b"\x80\x02\x8a\xff\x00.",
        b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x05\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x80\x05\x95" + struct.pack("<Q", 2**62),
        b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    ],
    ids=repr,
)
def test_broken_pickles_are_refused(operations: bytes) -> None:
    with pytest.raises(PackageError):
        read(operations)


@each_row(
    ("operations", "name"),
    [
        (b"\x80\x02I1\n.", "INT"),
        (b"\x80\x02Pabc\n.", "PERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02(cposix\nsystem\no.", "OBJ"),
        (b"\x80\x02(iposix\nsystem\n.", "INST"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02N2.", "DUP"),
    ],
    ids=repr,
)
def test_operations_that_weights_are_not_written_with_are_refused(operations: bytes, name: str) -> None:
    with pytest.raises(PackageError, match=rf"the operation {name},|'posix.system'"):
        read(operations)


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def doubled(depth: int) -> bytes:
    """Return tuples of the same two tuples, over and over: 2 to the power of `depth` values for who walks through."""
    parts = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(depth))
    return b"\x80\x02)q\x00" + parts + b"}h\x00K\x01s."


def long_key(place: int) -> bytes:
    """Set an item whose key is long, and remember the key."""
    return b"X" + struct.pack("<I", 2**23) + b"a" * 2**23 + b"q" + bytes([place]) + b"Ns"


@each_row(
    ("operations", "is_sound"),
    [
        (nested(100_000), True),
        (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", True),
        (doubled(50_000), True),
        (b"\x80\x02" + b"}" * 400_001 + b".", False),
        (b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", 2**32 - 1 - n) for n in range(100)) + b".", True),
        (b"\x80\x02\x8b" + struct.pack("<i", 2**23) + b"\x7f" * 2**23 + b".", True),
        (b"\x80\x02}" + long_key(0) + long_key(1) + b"h\x00Nsh\x01Ns" * 40_000 + b".", True),
        (b"\x80\x04\x8c\x01a" + b"X" + struct.pack("<I", 2**23) + b"a" * 2**23 + b"\x93.", False),
    ],
    ids=range(8),
)
def test_bombs_cost_no_more_than_they_are_long(operations: bytes, is_sound: bool) -> None:
    before_kb, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if is_sound:
        read(operations)
    else:
        with pytest.raises(PackageError):
            read(operations)
    assert time.perf_counter() - start_s < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 2**20
