"""All kinds of image sources."""

from __future__ import annotations

from processes.imagery.remote_source import RemoteTiffSource
from processes.imagery.services.grid_source import GridSource
from processes.imagery.source import FileSource
from processes.imagery.stack import StackSource

AnySource = FileSource | StackSource | RemoteTiffSource | GridSource
"""The union of all kinds of `ImageSource`; a saved plan tells them apart by their tags."""
