"""OGC's published schemas of version 1.0, with their two known faults worked round."""

from __future__ import annotations

from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from conftest import SHARED

_FOLDER = SHARED / "conformance" / "schemas"


def require_ogc(document: Any, name: str) -> None:
    """Raise jsonschema's ValidationError where a document is not as one of OGC's schemas has it."""
    registry = Registry(retrieve=_retrieve)  # type: ignore[call-arg] # its type is not known to have it
    jsonschema.Draft4Validator({"$ref": name}, registry=registry).validate(document)


def _retrieve(uri: str) -> Resource[Any]:
    return Resource.from_contents(_mended(yaml.safe_load((_FOLDER / uri).read_text())), DRAFT4)


def _mended(value: Any) -> Any:
    """Mend two faults.

    A `oneOf` of which a plain string, or an integer, is of two kinds at once, becomes an `anyOf`; and `subscriber.yaml`
    requires `successUrl`, where the property is `successUri`.
    """
    match value:
        case dict():
            mended = {
                ("anyOf" if key == "oneOf" and isinstance(item, list) else key): _mended(item)
                for key, item in value.items()
            }
            return mended | ({"required": ["successUri"]} if value.get("required") == ["successUrl"] else {})
        case list():
            return [_mended(item) for item in value]
        case _:
            return value
