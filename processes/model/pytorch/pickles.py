"""Pickles of PyTorch, read as data.

An interpreter of pickle's operations that calls nothing and imports nothing: it knows texts, numbers, lists, mappings
with texts as keys, and tensors. All else that weights may have beside them becomes `INERT_VALUE`, and a name that is
not in `processes.model.pytorch.known_names` ends it. Each operation costs a bounded time and memory. Their number is
limited, as the length of the pickle is.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterable
from typing import BinaryIO, TypeGuard

import msgspec

from processes.errors import PackageError
from processes.model.pytorch.known_names import INERT, MAPPING, PARAMETERS, STORAGES, TENSORS

MAX_PICKLE_BYTES = 16 * 2**20
"""Length of all pickles of a file; a state dict has some hundred bytes for each tensor."""
_MAX_OPERATIONS = 400_000
"""Operations of a pickle; a tensor takes some 30, and a ResNet 152 has 932, as many again with its optimiser's."""
_MAX_AXES = 8
_MAX_EXTENT = 2**48
_MAX_NAME_CHARACTERS = 500
_SHOWN_CHARACTERS = 80

INERT_VALUE = object()
"""A value that no weight depends on."""

_LITERALS = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class TensorStorage(msgspec.Struct, frozen=True):
    """Numbers of one type, one after the other, which tensors share."""

    key: str
    """Its name in the file."""
    type_name: str
    """Of PyTorch: `torch.FloatStorage`, …"""
    count: int
    """Of numbers."""


class StoredTensor(msgspec.Struct, frozen=True):
    """A tensor that lies in a file: a part of a storage, all of it inside."""

    storage: TensorStorage
    offset: int
    """Of its first number in the storage, in numbers."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Steps in the storage along each axis, in numbers."""


class _Name(msgspec.Struct, frozen=True):
    """A class or function that the pickle names: its module and its name."""

    text: str


def read_pickle(stream: BinaryIO, storages: dict[str, TensorStorage] | None = None) -> object:
    """Read one pickle and return its object, with tensors as `StoredTensor` and mappings as `dict`.

    Args:
        stream: in memory; it is left behind the pickle.
        storages: gets the storages that the pickle names, by key.

    Raises:
        PackageError: it is broken, too long, or names what is no part of weights.
    """
    machine = _Machine({} if storages is None else storages)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= _MAX_OPERATIONS:
                raise PackageError(f"its pickle has more than {_MAX_OPERATIONS} operations")
            if operation.name == "STOP":
                return machine.stack.pop()
            machine.do(operation.name, argument)
    except (ValueError, IndexError, KeyError) as err:
        raise _broken() from err
    raise _broken()


class _Machine:
    """The stack and the memory of a pickle that is being read."""

    def __init__(self, storages: dict[str, TensorStorage]) -> None:
        self._storages = storages
        self.stack: list[object] = []
        self._marks: list[int] = []
        self._memory: dict[int, object] = {}

    def do(self, operation: str, argument: object) -> None:
        """Carry out one operation.

        Raises:
            PackageError: it is none that weights are written with, or names what is no part of weights.
            ValueError, IndexError, KeyError: the pickle is broken.
        """
        stack = self.stack
        if operation in _LITERALS:
            stack.append(argument)
        elif operation in _CONSTANTS:
            stack.append(_CONSTANTS[operation])
        elif operation in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(self._memory) if operation == "MEMOIZE" else argument
            self._memory[_count(place)] = stack[-1]
        elif operation in ("BINGET", "LONG_BINGET"):
            stack.append(self._memory[_count(argument)])
        elif operation == "MARK":
            self._marks.append(len(stack))
        elif operation in _SHORT_TUPLES:
            length = _SHORT_TUPLES[operation]
            stack[-length:] = [tuple(stack[-length:])]
        elif operation == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif operation in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_known(self._name(argument)))
        elif operation == "BINPERSID":
            storage = _storage(stack.pop())
            _require(self._storages.setdefault(storage.key, storage) == storage)
            stack.append(storage)
        elif operation in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            if operation == "NEWOBJ_EX":
                stack.pop()
            arguments = stack.pop()
            stack.append(_call(stack.pop(), arguments))
        elif operation == "BUILD":
            stack.pop()  # attributes of the object before it, such as the versions of layers
            _require(isinstance(stack[-1], dict) or stack[-1] is INERT_VALUE)
        else:
            self._do_with_container(operation)

    def _do_with_container(self, operation: str) -> None:
        stack = self.stack
        match operation:
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_SET":
                stack.append(INERT_VALUE)
            case "FROZENSET":
                self._since_mark()
                stack.append(INERT_VALUE)
            case "SETITEM" | "SETITEMS":
                items = self._since_mark() if operation == "SETITEMS" else self._taken(2)
                _set_items(stack[-1], items)
            case "APPEND" | "APPENDS":
                items = self._since_mark() if operation == "APPENDS" else self._taken(1)
                _append(stack[-1], items)
            case "ADDITEMS":
                self._since_mark()
            case "PROTO" | "FRAME":
                pass
            case _:
                raise PackageError(f"its pickle has the operation {operation}, which weights are not written with")

    def _taken(self, count: int) -> list[object]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _since_mark(self) -> list[object]:
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _name(self, argument: object) -> str:
        if argument is not None:  # GLOBAL: both in one text
            return str(argument).replace(" ", ".", 1)
        name, module = self.stack.pop(), self.stack.pop()
        _require(_is_name(name) and _is_name(module))
        return f"{module}.{name}"


def _known(name: str) -> _Name:
    if name not in INERT and name not in STORAGES and name not in (MAPPING, *TENSORS, *PARAMETERS):
        raise PackageError(
            f"it holds {name[:_SHOWN_CHARACTERS]!r}, which is no part of weights; nothing of it was run. "
            "Save the state dict of the network alone"
        )
    return _Name(name)


def _call(function: object, arguments: object) -> object:
    """Return what a known function stands for; none is called."""
    if function is INERT_VALUE:
        return INERT_VALUE
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise _broken()
    if function.text == MAPPING:
        _require(not arguments)  # its items come after it
        return {}
    if function.text in TENSORS:
        return _tensor(arguments)
    if function.text in PARAMETERS:
        _require(bool(arguments) and isinstance(arguments[0], StoredTensor))
        return arguments[0]
    return INERT_VALUE


def _storage(identity: object) -> TensorStorage:
    """Return the storage of a persistent id: ("storage", type, key, device, count) and, in old files, a view."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        raise _broken()
    kind, type_name, key, _, count, *view = identity
    _require(kind == "storage" and view in ([], [None]))
    if not _is_name(key) or not isinstance(type_name, _Name) or type_name.text not in STORAGES:
        raise _broken()
    return TensorStorage(key, type_name.text, _count(count))


def _tensor(arguments: tuple[object, ...]) -> StoredTensor:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, TensorStorage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise _broken()
    _require(len(shape) == len(strides) <= _MAX_AXES)
    tensor = StoredTensor(storage, _count(offset), tuple(map(_count, shape)), tuple(map(_count, strides)))
    steps = sum((extent - 1) * step for extent, step in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and tensor.offset + steps >= storage.count:
        raise PackageError("it is broken: a tensor reaches out of its storage")
    return tensor


def _set_items(target: object, items: Iterable[object]) -> None:
    """Set keys and values, in turns. Those without a name as key, as an optimiser has them, are left out."""
    keys_and_values = list(items)
    _require(len(keys_and_values) % 2 == 0)
    if target is INERT_VALUE:
        return
    if not isinstance(target, dict):
        raise _broken()
    for key, value in zip(keys_and_values[::2], keys_and_values[1::2], strict=True):
        if _is_name(key):
            target[key] = value


def _append(target: object, items: list[object]) -> None:
    if target is INERT_VALUE:
        return
    if not isinstance(target, list):
        raise _broken()
    target += items


def _is_name(value: object) -> TypeGuard[str]:
    """Return whether a value is a text that can be a name; longer ones would take long to compare, again and again."""
    return isinstance(value, str) and len(value) <= _MAX_NAME_CHARACTERS


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_EXTENT:
        raise _broken()
    return value


def _require(is_sound: bool) -> None:
    if not is_sound:
        raise _broken()


def _broken() -> PackageError:
    return PackageError("it is broken or truncated: its pickle cannot be read")
