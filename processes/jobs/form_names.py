"""Names of the files that forms of a result have, in the folder `FORMS` among the job's files."""

from __future__ import annotations

INDEX = "index"
"""The form that says where each object lies."""
MAP = "map"
"""The form that says where each object lies on a web map. It is stored with a large result."""

CHIP = "chip-"
"""Beginning of the form that is the picture of one chip; the index of its row follows. Of all other forms the ending of
a file is the name."""
RESULT, CHIPS = "result", "chips"
"""What forms are made from: the rows of a result, and where their chips lie."""


def stored_name(fence: int, name: str = RESULT) -> str:
    """Return the name of what forms of the result of a claim are made from: `RESULT` or `CHIPS`."""
    return f"{name}-{fence}.arrow"


def form_name(fence: int, form: str) -> str:
    """Return the name of a form, given as an ending with its dot, as `INDEX` or `MAP`, or as the picture of a chip."""
    if form.startswith("."):
        return f"{RESULT}-{fence}{form}"
    return f"{form}-{fence}{'.png' if form.startswith(CHIP) else '.arrow'}"
