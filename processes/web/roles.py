"""Which role each operation of the service needs: one table, by endpoint and method.

An endpoint that does not stand here is for operators alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from processes.access.person import Role


class Openness(enum.Enum):
    """Operations that need no role."""

    ALWAYS = "always"
    """For everybody: whoever watches the service, what sign-in itself needs, and nothing of anybody's work."""
    IF_ANONYMOUS = "if anonymous"
    """For everybody where the setting `anonymous` says so, else for viewers: what the service is, and can do."""


Need = Role | Openness
"""What an operation needs."""

EXECUTE = ("pygeoapi.execute_process_jobs", "POST")
DISMISS = ("pygeoapi.get_jobs", "DELETE")
SHARE = ("shares", "POST")
UPLOAD = ("uploads", "POST")
LIST_FOLDERS = ("imagery", "GET")
_READING_PROCESSES = ("describe-model",)
"""Processes that only read what viewers may see, and never become a job: forms ask them about models."""

_READS = ("GET", "HEAD")
_ALWAYS = ("assets", "health", "pygeoapi.static", "static", "sign_in", "sign_in_begin", "sign_in_end", "sign_out")
_DESCRIPTIONS = ("pygeoapi.conformance", "pygeoapi.landing_page", "pygeoapi.openapi", "pygeoapi.get_processes")
_RESULTS = (
    "chip",
    "imagery_tile",
    "job_events",
    "job_output",
    "map",
    "models",
    "object_tile",
    "pygeoapi.collection_items",
    "pygeoapi.collection_queryables",
    "pygeoapi.collection_schema",
    "pygeoapi.collections",
    "pygeoapi.get_job_result",
    "pygeoapi.get_jobs",
    "review",
)
"""What viewers see: models, and results of their own."""
_OF_CONFIGURATIONS = (
    "pygeoapi.asyncapi",
    "pygeoapi.collection_coverage",
    "pygeoapi.collection_map",
    "pygeoapi.get_collection_edr_query",
    "pygeoapi.get_collection_tiles",
    "pygeoapi.get_collection_tiles_data",
    "pygeoapi.get_collection_tiles_metadata",
    "pygeoapi.get_tilematrix_set",
    "pygeoapi.get_tilematrix_sets",
    "pygeoapi.stac_catalog_path",
    "pygeoapi.stac_catalog_root",
    "pygeoapi.stac_landing_page",
    "pygeoapi.stac_search",
)
"""What pygeoapi has for collections that an operator adds to the configuration."""


def _reading(endpoints: tuple[str, ...], need: Need) -> dict[tuple[str, str], Need]:
    return {(endpoint, method): need for endpoint in endpoints for method in _READS}


NEEDS: Mapping[tuple[str, str], Need] = {
    **_reading(_ALWAYS, Openness.ALWAYS),
    ("sign_in", "POST"): Openness.ALWAYS,
    ("sign_out", "POST"): Openness.ALWAYS,
    **_reading(("sessions",), Role.VIEWER),
    ("sign_out_everywhere", "POST"): Role.VIEWER,
    **_reading(_DESCRIPTIONS, Openness.IF_ANONYMOUS),
    **_reading((*_RESULTS, *_OF_CONFIGURATIONS), Role.VIEWER),
    ("pygeoapi.stac_search", "POST"): Role.VIEWER,
    **_reading(("imagery", "shares", "upload"), Role.USER),
    EXECUTE: Role.USER,
    ("validate", "POST"): Role.USER,
    DISMISS: Role.USER,
    UPLOAD: Role.USER,
    ("upload", "DELETE"): Role.USER,
    SHARE: Role.USER,
    ("share", "DELETE"): Role.USER,
    **_reading(("metrics",), Role.OPERATOR),
    **{("pygeoapi.collection_items", method): Role.OPERATOR for method in ("POST", "PUT", "DELETE")},
}
"""What an operation needs, by endpoint and method."""


def need_of(endpoint: str, method: str, process_id: str | None = None) -> Need:
    """Return what an operation needs.

    Args:
        endpoint: that is asked.
        method: of the request.
        process_id: of the process that the request names; None = it names none.
    """
    if (endpoint, method) == EXECUTE and process_id in _READING_PROCESSES:
        return Role.VIEWER
    return NEEDS.get((endpoint, method), Role.OPERATOR)
