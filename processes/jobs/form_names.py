"""Names of the files that forms of a result have, in the folder `FORMS` among the job's files."""

from __future__ import annotations

INDEX = "index"
"""The form that says where each object lies; of all others the ending of a file is the name."""


def stored_name(fence: int) -> str:
    """Return the name of the result of a claim as other forms are made from it."""
    return f"result-{fence}.arrow"


def form_name(fence: int, form: str) -> str:
    """Return the name of a form, given as an ending with its dot, or as `INDEX`."""
    return f"result-{fence}{form}" if form.startswith(".") else f"{form}-{fence}.arrow"
