"""All kinds of services that give images by tiles."""

from __future__ import annotations

from processes.imagery.services.requests import BoxRequest, TileTemplate

AnyService = TileTemplate | BoxRequest
"""The union of all kinds of `TileService`; a saved plan tells them apart by their tags."""
