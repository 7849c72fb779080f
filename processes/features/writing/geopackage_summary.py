"""The summary in a GeoPackage's metadata, once it is written: what is lost on the way is known at the end only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

SUMMARY = "summary"
"""Key of the summary among the metadata that GDAL writes of a layer."""
_OF_GDAL = "md_standard_uri = 'http://gdal.org' AND mime_type = 'text/xml'"


def replace_summary(path: Path, text: str) -> None:
    """Give the one layer of a GeoPackage that GDAL wrote another summary."""
    with closing(sqlite3.connect(path)) as database, database:
        ((metadata,),) = database.execute(f"SELECT metadata FROM gpkg_metadata WHERE {_OF_GDAL}")  # noqa: S608 - ours
        document = ET.fromstring(metadata)  # noqa: S314 - written by us a moment ago
        for item in document.iterfind(f"Metadata/MDI[@key='{SUMMARY}']"):
            item.text = text
        changed = ET.tostring(document, "unicode")
        database.execute(f"UPDATE gpkg_metadata SET metadata = ? WHERE {_OF_GDAL}", (changed,))  # noqa: S608 - ours
