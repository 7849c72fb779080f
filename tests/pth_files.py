"""Files of `torch.save` without PyTorch: both layouts, written operation by operation. Nothing shared with the package.

`pth(value)` pickles plain values, `Tensor`, `Name` and `Call` as PyTorch does: protocol 2, storages as persistent ids.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["zip", "stream"]
STORAGE_NAMES = {"<f4": "Float", "<f8": "Double", "<f2": "Half", "<u2": "BFloat16", "<i8": "Long", "|u1": "Byte"}
MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor; by default all of a storage of its own. What is stated otherwise need not be true."""

    numbers: NDArray[Any]
    shape: Sequence[int] | None = None
    strides: Sequence[int] | None = None
    offset: int = 0
    count: int | None = None
    view: Any = None


@dataclass(frozen=True)
class Name:
    """A class or function."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """What a class or function gives for arguments, with a state that is set afterwards."""

    function: Name
    arguments: Any = ()
    state: Any = None


@dataclass(frozen=True, eq=False)
class Ordered:
    """An OrderedDict, as Python 3 pickles it: made of nothing, then filled, then its attributes set."""

    items: Mapping[str, Any]
    state: Any = None


@dataclass(frozen=True)
class Raw:
    """Operations of a pickle, as they are."""

    operations: bytes


@dataclass
class Pickled:
    """A pickle, and the storages that it names."""

    data: bytes = b""
    storages: dict[str, NDArray[Any]] = field(default_factory=dict)


def pickled(value: Any, layout: Layout = "zip") -> Pickled:
    """Pickle a value."""
    made = Pickled()
    made.data = b"\x80\x02" + _operations(value, made.storages, layout) + b"."
    return made


def pth(value: Any, layout: Layout = "zip", **changes: Any) -> bytes:
    """Return the file of a value; arguments as `zip_file` and `stream_file` have them."""
    return zip_file(pickled(value), **changes) if layout == "zip" else stream_file(pickled(value, layout), **changes)


def zip_file(
    value: Pickled,
    top: str = "archive",
    more: Mapping[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
    without: Sequence[str] = (),
) -> bytes:
    """Return the zip since PyTorch 1.6."""
    parts = {"data.pkl": value.data, "byteorder": b"little"}
    parts |= {f"data/{key}": numbers.tobytes() for key, numbers in value.storages.items()}
    parts |= {"version": b"3\n"} | dict(more or {})
    target = BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in parts.items():
            if name not in without:
                archive.writestr(f"{top}/{name}", data)
    return target.getvalue()


def stream_file(
    value: Pickled, keys: Sequence[Any] | None = None, version: int = 1001, little_endian: bool = True
) -> bytes:
    """Return the stream before PyTorch 1.6."""
    system = {"protocol_version": version, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4}}
    names = list(value.storages) if keys is None else keys
    data = b"".join(pickled(item).data for item in (MAGIC, version, system)) + value.data + pickled(names).data
    for name in names:
        numbers = value.storages[name]
        data += struct.pack("<q", numbers.size) + numbers.tobytes()
    return data


def _operations(value: Any, storages: dict[str, NDArray[Any]], layout: Layout) -> bytes:
    def of(item: Any) -> bytes:
        return _operations(item, storages, layout)

    match value:
        case Raw():
            return value.operations
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            length = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():  # as protocol 2 has it
            return of(Call(Name("_codecs", "encode"), (value.decode("latin-1"), "latin1")))
        case tuple():
            return b"(" + b"".join(map(of, value)) + b"t"
        case list():
            return b"](" + b"".join(map(of, value)) + b"e"
        case dict():
            return b"}(" + b"".join(of(key) + of(item) for key, item in value.items()) + b"u"
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            state = b"" if value.state is None else of(value.state) + b"b"
            return of(value.function) + of(value.arguments) + b"R" + state
        case Ordered():
            items = b"".join(of(key) + of(item) for key, item in value.items.items())
            state = b"" if value.state is None else of(value.state) + b"b"
            return of(Call(Name("collections", "OrderedDict"))) + b"(" + items + b"u" + state
        case Tensor():
            return of(_call_of_tensor(value, storages, layout))
        case _:
            raise TypeError(f"no operations for {type(value)}")


def _call_of_tensor(tensor: Tensor, storages: dict[str, NDArray[Any]], layout: Layout) -> Call:
    numbers = np.ascontiguousarray(tensor.numbers)
    key = str(len(storages)) if layout == "zip" else str(94_000_000_000_000 + len(storages))  # an address
    storages[key] = numbers
    count = numbers.size if tensor.count is None else tensor.count
    kind = Name("torch", f"{STORAGE_NAMES[numbers.dtype.str]}Storage")
    identity: tuple[Any, ...] = ("storage", kind, key, "cpu", count)
    if layout == "stream":
        identity += (tensor.view,)
    shape = tuple(numbers.shape if tensor.shape is None else tensor.shape)
    plain = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    strides = plain if tensor.strides is None else tuple(tensor.strides)
    storage = Raw(_operations(identity, {}, layout) + b"Q")
    hooks = Ordered({})
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage, tensor.offset, shape, strides, False, hooks))
