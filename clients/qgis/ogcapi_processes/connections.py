"""The servers that a person has named, kept in QGIS's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qgis.core import QgsSettings

GROUP: Final = "ogcapi-processes/connections"


@dataclass(frozen=True)
class Connection:
    """A server, as QGIS knows it."""

    name: str
    """What a person calls it, without slashes."""
    url: str
    """Address of the landing page, without a slash at its end."""
    authcfg: str = ""
    """Id of one of QGIS's authentication configurations; empty = none."""


def load_connections() -> list[Connection]:
    """Return all connections that have an address, by name."""
    settings = QgsSettings()
    settings.beginGroup(GROUP)
    found = [
        Connection(
            name, str(settings.value(f"{name}/url") or "").rstrip("/"), str(settings.value(f"{name}/authcfg") or "")
        )
        for name in sorted(settings.childGroups())
    ]
    settings.endGroup()
    return [connection for connection in found if connection.url]


def save_connection(connection: Connection) -> None:
    """Keep a connection, in the place of one of the same name."""
    settings = QgsSettings()
    settings.setValue(f"{GROUP}/{connection.name}/url", connection.url)
    settings.setValue(f"{GROUP}/{connection.name}/authcfg", connection.authcfg)


def remove_connection(name: str) -> None:
    """Forget a connection; nothing happens where there is none of this name."""
    QgsSettings().remove(f"{GROUP}/{name}")
