"""The plugin, as QGIS starts and stops it."""

from __future__ import annotations

from typing import Any, Final

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QMenu

from .algorithm import ICON
from .dialog import ConnectionsDialog
from .provider import ProcessesProvider, load_catalogue

MENU: Final = "OGC API - Processes"


class ProcessesPlugin:
    """Processes of servers in the Processing toolbox, and a menu for the connections."""

    def __init__(self, iface: Any) -> None:
        self._iface = iface
        self._provider: ProcessesProvider | None = None
        self._menu: QMenu | None = None
        self._task: Any = None

    def initProcessing(self) -> None:  # noqa: N802
        """Offer the processes at once, as `qgis_process` needs them."""
        self._add_provider()
        self._shown(load_catalogue())

    def initGui(self) -> None:  # noqa: N802
        """Add the menu, and offer the processes as soon as the servers have answered."""
        self._add_provider()
        self._menu = QMenu(MENU, self._iface.mainWindow())
        self._menu.setIcon(QIcon(str(ICON)))
        self._menu.addAction("Connections…", self._edit)
        self._menu.addAction("Read processes again", self.reload)
        self._iface.pluginMenu().addMenu(self._menu)
        self.reload()

    def unload(self) -> None:
        """Take the menu and the processes away."""
        if self._menu is not None:
            self._iface.pluginMenu().removeAction(self._menu.menuAction())
            self._menu = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None

    def reload(self) -> None:
        """Ask all servers for their processes, beside what a person does."""
        self._task = QgsTask.fromFunction(
            "Reading processes of servers", lambda _: load_catalogue(), on_finished=self._loaded
        )
        QgsApplication.taskManager().addTask(self._task)

    def _loaded(self, exception: Exception | None, catalogue: Any = None) -> None:
        if exception is not None:
            raise exception
        self._shown(catalogue)

    def _shown(self, catalogue: Any) -> None:
        if self._provider is not None:
            self._provider.show(catalogue)

    def _add_provider(self) -> None:
        self._provider = ProcessesProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def _edit(self) -> None:
        dialog = ConnectionsDialog(self._iface.mainWindow())
        dialog.exec()
        if dialog.changed:
            self.reload()
