"""The folders of the configuration that an installed program brings: no deployment has decided about them."""

from __future__ import annotations

import os
from pathlib import Path

from processes.settings import own_folder

_PROGRAM = "classify-objects"
_MODELS = "models"


def set_built_in_folders() -> None:
    """Set the variables of the built-in configuration that are not set, for this process and those that it starts.

    What stays between calls goes where the XDG Base Directory Specification has the state of a user's programs. The
    models are those of the folder `models` here, where there is one, and those that are shipped.
    """
    states = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    os.environ.setdefault("CLASSIFY_STATE", str(states / _PROGRAM))
    own = Path.cwd() / _MODELS
    folders = [own, own_folder() / _MODELS] if own.is_dir() else [own_folder() / _MODELS]
    os.environ.setdefault("CLASSIFY_MODELS", ":".join(map(str, folders)))
