"""The dialog in which a person adds, changes, tests and removes connections."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from qgis.gui import QgsAuthConfigSelect
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from .client import Client
from .connections import Connection, load_connections, remove_connection, save_connection
from .problems import ServerError


class ConnectionsDialog(QDialog):
    """The connections: a list, and the fields of the one that is chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.changed = False
        self._connections: list[Connection] = []
        self.setWindowTitle("OGC API - Processes: connections")
        self.resize(720, 360)
        self._list = QListWidget()
        self._list.currentRowChanged.connect(self._choose)
        self._name, self._url, self._auth = QLineEdit(), QLineEdit(), QgsAuthConfigSelect()
        self._url.setPlaceholderText("https://example.org/ogcapi")
        self._told = QLabel()
        self._told.setWordWrap(True)
        self._told.setTextFormat(Qt.TextFormat.PlainText)
        self._lay_out()
        self._fill("")

    def _lay_out(self) -> None:
        left = QVBoxLayout()
        left.addWidget(self._list)
        left.addLayout(_row(("New", self._new), ("Remove", self._remove)))
        form = QFormLayout()
        form.addRow("Name", self._name)
        form.addRow("Address", self._url)
        form.addRow("Authentication", self._auth)
        right = QVBoxLayout()
        right.addLayout(form)
        right.addLayout(_row(("Test", self._test), ("Save", self._save)))
        right.addWidget(self._told)
        right.addStretch()
        both = QHBoxLayout()
        both.addLayout(left, 1)
        both.addLayout(right, 2)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        whole = QVBoxLayout(self)
        whole.addLayout(both)
        whole.addWidget(buttons)

    def _fill(self, name: str) -> None:
        """Show the connections as they are kept, and choose one by its name."""
        self._connections = load_connections()
        names = [connection.name for connection in self._connections]
        self._list.clear()
        self._list.addItems(names)
        if name in names:
            self._list.setCurrentRow(names.index(name))
        else:
            self._new()

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self._connections):
            chosen = self._connections[row]
            self._name.setText(chosen.name)
            self._url.setText(chosen.url)
            self._auth.setConfigId(chosen.authcfg)
            self._told.setText("")

    def _new(self) -> None:
        self._list.setCurrentRow(-1)
        self._name.clear()
        self._url.clear()
        self._auth.setConfigId("")
        self._told.setText("Give the address of a server's landing page.")

    def _entered(self) -> Connection | None:
        """Return what stands in the fields; None = it is no connection, and the dialog says why."""
        name, url = self._name.text().strip().replace("/", "_"), self._url.text().strip().rstrip("/")
        parts = urlsplit(url)
        if not name or parts.scheme not in ("http", "https") or not parts.netloc:
            self._told.setText("A connection needs a name, and an address that begins with http:// or https://.")
            return None
        return Connection(name, url, self._auth.configId())

    def _save(self) -> None:
        entered = self._entered()
        if entered is None:
            return
        row = self._list.currentRow()
        if row >= 0 and self._connections[row].name != entered.name:
            remove_connection(self._connections[row].name)
        save_connection(entered)
        self.changed = True
        self._fill(entered.name)
        self._told.setText("Saved.")

    def _remove(self) -> None:
        row = self._list.currentRow()
        if row >= 0:
            remove_connection(self._connections[row].name)
            self.changed = True
            self._fill("")

    def _test(self) -> None:
        entered = self._entered()
        if entered is None:
            return
        left_out: list[str] = []
        try:
            processes = Client(entered).processes(left_out.append)
        except ServerError as error:
            self._told.setText(str(error))
        else:
            titles = [process.title for process in processes]
            self._told.setText("\n".join([f"The server has {len(processes)} processes:", *titles, *left_out]))


def _row(*buttons: tuple[str, Any]) -> QHBoxLayout:
    row = QHBoxLayout()
    for title, react in buttons:
        button = QPushButton(title)
        button.clicked.connect(react)
        row.addWidget(button)
    return row
