"""What was downloaded for a job before its work begins, among the job's files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from processes.jobs.storage import Storage
from processes.sources.downloads import OPENED, Download, keep_downloads, place_downloads

FETCHED = "fetched"
"""Folder among the job's files. It belongs to no claim of the job: what is there is not fetched again."""
_INDEX = "index.msgpack"
"""It comes last: where it is, all is there."""


def keep_inputs(storage: Storage, job_id: str, scratch: Path, folder: Path) -> None:
    """Keep what was downloaded for a job, and what went wrong with it.

    Args:
        storage: the files of jobs.
        job_id: the job.
        scratch: folder of the step.
        folder: with the downloads.
    """
    files, index = storage.files(job_id, FETCHED, scratch), scratch / _INDEX
    kept = msgspec.msgpack.encode(keep_downloads(folder, files.keep, storage.seal))
    index.write_bytes(storage.seal.close_if_needed(kept))
    files.keep(_INDEX, index)


def place_inputs(storage: Storage, job_id: str, scratch: Path) -> bool:
    """Let a step find what was downloaded for its job; return whether that is there.

    Args:
        storage: the files of jobs.
        job_id: the job.
        scratch: folder of the step.
    """
    files, folder = storage.files(job_id, FETCHED, scratch), scratch / OPENED
    if not files.has(_INDEX):
        return False
    folder.mkdir()
    kept = msgspec.msgpack.decode(storage.seal.open(files.fetch(_INDEX).read_bytes()), type=list[Download])
    place_downloads(kept, folder, files.fetch, storage.seal)
    return True
