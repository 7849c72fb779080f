"""What the linked folders of a request may hold."""

from __future__ import annotations

import msgspec

from processes.errors import LimitError
from processes.settings import Settings
from processes.sources.host_links import display_link

_ENTRIES_PER_IMAGE = 20
"""Files that may lie in a linked folder for each image of the limit: images have others beside them."""


class FolderBudget(msgspec.Struct):
    """Images and entries of folders that remain for all links of one request together."""

    limit: int
    """The limit `max_images`."""
    remaining_files: int
    remaining_entries: int

    @classmethod
    def of(cls, settings: Settings) -> FolderBudget:
        """Return the budget of a request of which no folder is listed yet."""
        limit = settings.limits.max_images
        return cls(limit, limit, limit * _ENTRIES_PER_IMAGE)

    @property
    def is_spent(self) -> bool:
        """Whether there were too many images or entries."""
        return min(self.remaining_files, self.remaining_entries) < 0

    def spend_file(self, href: str) -> None:
        """Count an image of a linked folder; raise LimitError where there are too many."""
        self.remaining_files -= 1
        if self.remaining_files < 0:
            reason = f"the images of {display_link(href)} and those before them in the request"
            raise LimitError("max_images", self.limit, reason)

    def spend_entry(self, href: str) -> None:
        """Count whatever lies in a linked folder; raise LimitError where there is too much."""
        self.remaining_entries -= 1
        if self.remaining_entries < 0:
            entries = f"over {self.limit * _ENTRIES_PER_IMAGE} files, {_ENTRIES_PER_IMAGE} for each image"
            reason = f"the folder {display_link(href)} and those before it in the request hold {entries}"
            raise LimitError("max_images", self.limit, reason)
