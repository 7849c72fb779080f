"""The provider: all processes of all connections."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMessageLog, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import ICON, ProcessAlgorithm
from .client import Client
from .connections import Connection, load_connections
from .description import ProcessDescription
from .forms import Uploads
from .problems import ServerError

Catalogue = dict[Connection, list[ProcessDescription]]


def load_catalogue() -> Catalogue:
    """Return the processes of all connections. The log says which servers do not answer, and what is left out."""
    return {connection: _processes_of(connection) for connection in load_connections()}


def _processes_of(connection: Connection) -> list[ProcessDescription]:
    def warn(message: str) -> None:
        named = f"{connection.name} ({connection.url}): {message}"
        QgsMessageLog.logMessage(named, "OGC API - Processes", Qgis.MessageLevel.Warning)

    try:
        return Client(connection).processes(warn)
    except ServerError as error:
        warn(str(error))
        return []


class ProcessesProvider(QgsProcessingProvider):
    """The processes of all connections, as QGIS asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self._catalogue: Catalogue = {}
        self._uploads = Uploads()

    def show(self, catalogue: Catalogue) -> None:
        """Offer the processes of a catalogue."""
        self._catalogue = catalogue
        self.refreshAlgorithms()

    def id(self) -> str:
        """Return the id of the provider."""
        return "ogcapi-processes"

    def name(self) -> str:
        """Return the name that people see."""
        return "OGC API - Processes"

    def icon(self) -> QIcon:
        """Return the icon of the plugin."""
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:  # noqa: N802
        """Return the file of the icon."""
        return str(Path(ICON))

    def loadAlgorithms(self) -> None:  # noqa: N802
        """Add an algorithm for each process."""
        for connection, processes in self._catalogue.items():
            for process in processes:
                self.addAlgorithm(ProcessAlgorithm(connection, process, self._uploads))
