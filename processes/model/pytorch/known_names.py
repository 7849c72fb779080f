"""The names that a pickle of weights may hold. A pickle with any other one is refused."""

from __future__ import annotations

from collections.abc import Mapping

STORAGES: Mapping[str, str] = {
    f"{module}.{kind}Storage": dtype
    for module in ("torch", "torch.cuda")
    for kind, dtype in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "BFloat16": "<u2",
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "<i1",
        "Byte": "<u1",
        "Bool": "<b1",
    }.items()
}
"""Types of storages, by the numpy type of their values. numpy has no bfloat16: its bits stand in 16-bit numbers."""

BFLOAT16_STORAGES = ("torch.BFloat16Storage", "torch.cuda.BFloat16Storage")

MAPPING = "collections.OrderedDict"

TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
"""Functions that make a tensor of a storage, an offset, a shape and strides."""

PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
"""Functions that make a parameter of a tensor."""

_INERT_BY_MODULE: Mapping[str, tuple[str, ...]] = {
    # numbers of a schedule, which optimisers keep: numpy 1 and 2 write them under other names
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "_codecs": ("encode",),
    "builtins": ("bytearray", "bytes", "complex", "dict", "frozenset", "list", "range", "set", "slice", "tuple"),
    "__builtin__": ("bytearray", "bytes", "complex", "dict", "frozenset", "list", "set", "slice", "tuple", "xrange"),
    "collections": ("Counter", "defaultdict", "deque"),
    "datetime": ("date", "datetime", "timedelta", "timezone"),
    "fastcore.foundation": ("L",),
    "torch": (
        *("Size", "device", "float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"),
        *("bool", "strided", "contiguous_format", "channels_last", "preserve_format"),
    ),
    "torch.serialization": ("_get_layout",),
}

INERT = frozenset(f"{module}.{name}" for module, names in _INERT_BY_MODULE.items() for name in names)
"""Names beside the weights, of an optimiser's state or a training's record: read over, as nothing depends on them."""
