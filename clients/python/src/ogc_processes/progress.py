"""A bar that shows how a job goes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def is_watched() -> bool:
    """Return whether somebody looks on: in a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def shown(title: str, is_wanted: bool | None) -> Iterator[Callable[[int | None, str], None]]:
    """Show a bar, and give the function that moves it: percent, or None as long as it is not known, and words.

    Args:
        title: of the bar.
        is_wanted: None = if somebody looks on and tqdm is installed.
    """
    bar = _bar(title) if is_wanted or (is_wanted is None and is_watched()) else None
    if bar is None:
        yield lambda _percent, _message: None
        return

    def move(percent: int | None, message: str) -> None:
        bar.n = bar.n if percent is None else percent
        bar.set_postfix_str(message)  # which draws it too

    try:
        yield move
    finally:
        bar.close()


def _bar(title: str) -> Any:
    """Return a bar of tqdm; None = it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets it is a bar of text
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=100, desc=title, unit="%", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}")
