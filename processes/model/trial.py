"""The check of a package's network in a process of its own, started by `processes.model.probe`.

`python -m processes.model.trial FILE_OR_FOLDER UNPACK_FOLDER MAX_BYTES` prints one JSON object.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from processes.errors import PackageError
from processes.model import session
from processes.model.package import read_package
from processes.model.probe import Outcome


def check(path: Path, unpack_folder: Path, max_bytes: int) -> Outcome:
    """Open a package's network and run it once, in this process."""
    package = read_package(path, unpack_folder, max_bytes)
    definition = package.definition
    if package.network is None or package.sha256 is None or definition is None:
        return Outcome(package.problem or "the package has no network")
    try:
        key = session.SessionKey(
            package.network, package.sha256, definition, "none", "CPU", session.available_threads()
        )
        opened = session.Session(key)
        outputs = session.trial(opened)
    except PackageError as err:
        return Outcome(err.detail)
    activation = definition.activation or session.find_activation(outputs, definition.multi_label)
    return Outcome(activation=activation, bands=opened.network.bands)


if __name__ == "__main__":
    outcome = check(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
