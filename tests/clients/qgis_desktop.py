"""A person at the dialog of an algorithm, in QGIS itself; QGIS runs this with `--code`.

`QGIS_TEST` names a JSON file with `image`, `features`, `prefix` (of the algorithms), `folder` (for pictures), `answer`
(the file for what was found).
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication, QTextEdit
from qgis.utils import iface

TEST = json.loads(Path(os.environ["QGIS_TEST"]).read_text())
FOLDER = Path(TEST["folder"])


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Let QGIS work until a condition is true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)
    return condition()


def open_dialog(name: str, parameters: dict[str, Any]) -> Any:
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    algorithm = QgsApplication.processingRegistry().createAlgorithmById(TEST["prefix"] + name)
    dialog = AlgorithmDialog(algorithm, False, iface.mainWindow())
    dialog.resize(1100, 900)
    dialog.show()
    dialog.setParameters(parameters)
    until(lambda: False, 0.5)
    return dialog


def log_of(dialog: Any) -> str:
    return "\n".join(field.toPlainText() for field in dialog.findChildren(QTextEdit))


def take(widget: Any, name: str) -> None:
    widget.grab().save(str(FOLDER / f"{name}.png"))


def visit() -> dict[str, Any]:
    project = QgsProject.instance()
    found: dict[str, Any] = {}
    image, layer = QgsRasterLayer(TEST["image"], "scene"), QgsVectorLayer(TEST["features"], "houses")
    project.addMapLayers([image, layer])
    until(lambda: QgsApplication.processingRegistry().algorithmById(TEST["prefix"] + "echo"))
    dialog = open_dialog("classify-objects", {"image": [image.id()], "features": layer.id(), "model": "roof-damage"})
    take(dialog, "dialog")
    dialog.runButton().click()
    until(lambda: len(project.mapLayers()) > 2)
    until(lambda: "finished" in log_of(dialog))
    take(dialog, "log")
    (result,) = [item for item in project.mapLayers().values() if item not in (image, layer)]
    found["result"] = {"renderer": result.renderer().type(), "features": result.featureCount(), "name": result.name()}
    dialog.close()
    project.layerTreeRoot().findLayer(layer.id()).setItemVisibilityChecked(False)
    until(lambda: False, 2)
    until(lambda: not iface.mapCanvas().isDrawing())
    take(iface.mainWindow(), "map")

    dialog = open_dialog("echo", {"echo": "hello", "pause": 50})
    take(dialog, "echo")
    dialog.runButton().click()
    until(lambda: "Job " in log_of(dialog))
    dialog.cancelButton().click()
    until(lambda: "finished" in log_of(dialog))
    found["cancelled"] = log_of(dialog)
    dialog.close()

    from ogcapi_processes.dialog import ConnectionsDialog

    connections = ConnectionsDialog(iface.mainWindow())
    connections.show()
    connections._list.setCurrentRow(0)
    connections._test()
    QApplication.processEvents()
    take(connections, "connections")
    found["test"] = connections._told.text()
    return found


def main() -> None:
    try:
        answer = visit()
    except Exception:  # noqa: BLE001
        answer = {"error": traceback.format_exc()}
    Path(TEST["answer"]).write_text(json.dumps(answer))
    os._exit(0)


QTimer.singleShot(3000, main)
