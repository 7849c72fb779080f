"""OGC API - Processes in QGIS: the processes of any server as algorithms of the Processing toolbox.

What needs no QGIS imports none of it: `description`, `formats` and `problems`.
"""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: N802
    """Return the plugin, as QGIS asks for it; `iface` is None in `qgis_process`."""
    from .plugin import ProcessesPlugin  # QGIS alone has what it imports

    return ProcessesPlugin(iface)
