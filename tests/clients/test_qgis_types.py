"""The plugin of QGIS and the types of Qt 6; Debian's QGIS has Qt 5, where the names of both are there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service import ROOT

pytestmark = pytest.mark.clients

PLUGIN = ROOT / "clients" / "qgis" / "ogcapi_processes"
PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"
"""Of the environment that has PyQt6."""
CONFIGURATION = """[mypy]
strict = true
disallow_subclassing_any = false
warn_return_any = false
[mypy-osgeo.*,processing.*,qgis.*]
ignore_missing_imports = true
"""


def check_on_qt6(folder: Path) -> str:
    """Check a copy of the plugin with PyQt6 in the place of QGIS's own name for its PyQt, and return what mypy says."""
    for module in folder.glob("ogcapi_processes/*.py"):
        module.write_text(module.read_text().replace("from qgis.PyQt", "from PyQt6"))
    (folder / "mypy.ini").write_text(CONFIGURATION)
    options = ["--config-file", "mypy.ini", "--python-executable", str(PYTHON), "--cache-dir", "cache"]
    command = [sys.executable, "-m", "mypy", *options, "-p", "ogcapi_processes"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_every_name_of_qt_is_one_of_qt6(tmp_path: Path) -> None:
    shutil.copytree(PLUGIN, tmp_path / "ogcapi_processes")
    assert check_on_qt6(tmp_path).startswith("Success")


@pytest.mark.parametrize(
    ("name", "only_in_qt5"),
    [
        ("Qt.DateFormat.ISODate", "Qt.ISODate"),
        ("loop.exec()", "loop.exec_()"),
        ("QNetworkReply.NetworkError.NoError", "QNetworkReply.NoError"),
        ("from qgis.PyQt.QtWidgets import QMenu", "from qgis.PyQt.QtWidgets import QAction as QMenu"),
    ],
)
def test_a_name_that_only_qt5_has_is_found(tmp_path: Path, name: str, only_in_qt5: str) -> None:
    shutil.copytree(PLUGIN, tmp_path / "ogcapi_processes")
    (changed,) = (module for module in tmp_path.glob("ogcapi_processes/*.py") if name in module.read_text())
    changed.write_text(changed.read_text().replace(name, only_in_qt5))
    told = check_on_qt6(tmp_path)
    assert f"ogcapi_processes/{changed.name}:" in told
    assert "Found 1 error in 1 file" in told
