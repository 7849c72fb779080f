"""Executes a notebook, in the environment of the clients: notebook, folder for its pictures.

Every cell has to run. Pictures are written as PNG, in their order.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import nbclient
import nbformat


def main(notebook: Path, folder: Path) -> None:
    document = nbformat.read(notebook, as_version=4)
    nbclient.NotebookClient(
        document, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(notebook.parent)}}
    ).execute()
    outputs = [output for cell in document.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    for number, picture in enumerate(pictures, 1):
        (folder / f"{number}.png").write_bytes(base64.b64decode(picture))
    print("\n".join(output.text for output in outputs if output.output_type == "stream"))
    print("\n".join(output.data["text/plain"] for output in outputs if "text/plain" in output.get("data", {})))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
