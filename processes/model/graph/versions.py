"""The versions that a network states: of ONNX's format, and of its operators.

Exporters state the newest ones that they know, whatever the network needs; runtimes refuse by the number alone.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import defs, helper

from processes.errors import PackageError
from processes.model.graph.nodes import all_nodes

_IR_VERSION = 10
"""Newer versions of the format only add types of tensors, which a runtime knows or refuses by themselves."""
_OPSET = 26
"""The newest opset that ONNX Runtime 1.31 takes."""
_MIN_OPSET = 7  # since this one Mul and Add broadcast as numpy does
_ONNX = ("", "ai.onnx")


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators, 0 = none is stated."""
    return next((item.version for item in model.opset_import if item.domain in _ONNX), 0)


def ir_version_of(opset: int) -> int:
    """Return the version of ONNX's format that came with an opset; 3 for one that is not known."""
    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)], ignore_unknown=True)


def lower_versions(model: onnx.ModelProto) -> None:
    """State no newer versions than the network needs, where this loses nothing.

    Raises:
        PackageError: the opset is so old that its operators work otherwise.
    """
    opset = opset_of(model)
    if opset < _MIN_OPSET:
        raise PackageError(f"the network's ONNX opset is {opset}; {_MIN_OPSET} or newer is needed: convert it")
    if model.ir_version <= onnx.IR_VERSION:  # else nobody here knows what it means
        model.ir_version = min(model.ir_version, _IR_VERSION)
    imports = [*model.opset_import, *(item for function in model.functions for item in function.opset_import)]
    newer = [item for item in imports if item.domain in _ONNX and item.version > _OPSET]
    is_known = all(item.version <= defs.onnx_opset_version() for item in newer)
    if is_known and all(_is_as_before(node, item.version) for item in newer for node in all_nodes(model)):
        for item in newer:
            item.version = _OPSET


def _is_as_before(node: onnx.NodeProto, opset: int) -> bool:
    """Return whether a node means the same in the runtime's newest opset; a new version may have added types alone."""
    if node.domain not in _ONNX:
        return True
    try:
        new, old = (defs.get_schema(node.op_type, version, "") for version in (opset, _OPSET))
    except defs.SchemaError:  # neither onnx nor that opset has it
        return False
    if new.since_version == old.since_version:
        return True
    types, former_types = _types(new), _types(old)
    has_more_types = types != former_types and all(former_types.get(name, set()) <= types[name] for name in types)
    return has_more_types and _signature(new) == _signature(old)


def _types(schema: Any) -> dict[str, set[str]]:
    return {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}


def _signature(schema: Any) -> Any:
    """Return what an operator takes and gives, without types."""
    attributes = {name: (item.type, item.required, str(item.default_value)) for name, item in schema.attributes.items()}
    ports = [[(item.name, item.option) for item in side] for side in (schema.inputs, schema.outputs)]
    return attributes, ports, schema.min_input, schema.max_input
