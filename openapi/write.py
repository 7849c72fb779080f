"""Writes the OpenAPI document of the default configuration, and the examples that are in it: `make openapi`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from processes.settings import CONFIGURATION
from processes.web.openapi.document import configured_document

_HERE = Path(__file__).resolve().parent


class _Dumper(yaml.SafeDumper):
    """YAML without anchors: what is there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main() -> None:
    document = configured_document(_HERE.parent / CONFIGURATION)
    with (_HERE / "openapi.yml").open("w", encoding="utf-8") as file:
        yaml.dump(document, file, _Dumper, sort_keys=False, allow_unicode=True, width=120)
    for path, methods in document["paths"].items():
        if path.endswith("/execution"):
            example = methods["post"]["requestBody"]["content"]["application/json"]["example"]
            (_HERE / "examples" / f"{path.split('/')[2]}.json").write_text(json.dumps(example, indent=2) + "\n")


if __name__ == "__main__":
    main()
