"""Networks of timm, made by name and filled with weights. Nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch

from processes.convert.words import in_words
from processes.errors import PackageError

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
_SETTINGS = frozenset(("global_pool", "class_token", "window_size", "act_layer", "no_embed_class", "reg_tokens"))
"""Arguments of timm's own settings that change a network's shape; those that name files or hosts are not among them."""
_COMPUTED = (
    *("num_batches_tracked", "relative_position_index", "attn_mask", "attention_bias_idxs", "relative_coords_table"),
    "rel_indices",
)
"""Ends of names of what a network computes itself; versions of timm differ in which of them they save."""
_RECIPE = (
    "where its code is in arcgis.learn alone, export it in a notebook of ArcGIS: docs/models.md has the function for it"
)
_SHOWN = 3

State = Mapping[str, torch.Tensor]
"""The tensors of a network, by name."""


def create(
    name: str | None, classes: int | None, shape: tuple[int, int, int], settings: Mapping[str, Any] | None = None
) -> Any:
    """Return a network of timm, without weights.

    Args:
        name: as timm has it, with or without `timm:`.
        classes: number of its outputs; None = as it comes.
        shape: bands, height and width of the chips that it gets.
        settings: what timm saved beside its weights; None = nothing.

    Raises:
        PackageError: timm has no such network.
    """
    if not name:
        raise PackageError(
            "the package does not say what network its weights are of: name it in the .emd, "
            '"ModelParameters": {"backbone": "timm:NAME"}'
        )
    bare = str(name).strip().removeprefix("timm:").removeprefix("tv_")
    if not _NAME.fullmatch(bare) or not timm.is_model(bare):
        raise PackageError(f"timm {timm.__version__} has no network {str(name)[:80]!r}; {_RECIPE}")
    bands, height, width = shape
    given = {key: value for key, value in (settings or {}).items() if key in _SETTINGS}
    if classes is not None:
        given["num_classes"] = classes
    try:
        try:
            return timm.create_model(bare, pretrained=False, in_chans=bands, img_size=(height, width), **given).eval()
        except TypeError:  # convolutional networks take any size, and have no such argument
            return timm.create_model(bare, pretrained=False, in_chans=bands, **given).eval()
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as err:
        raise PackageError(f"timm cannot make {bare} for chips of {height} x {width} cells: {in_words(err)}") from err


def load(module: Any, state: State, network: str) -> None:
    """Fill a network with weights, all of them and nothing else.

    Args:
        module: the network.
        state: its weights.
        network: what it is, for messages.

    Raises:
        PackageError: the weights are those of another network.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith(_COMPUTED)]
    more = [name for name in state if name not in own and not name.endswith(_COMPUTED)]
    if missing or more:
        parts = [f"{words} {_shown(names)}" for words, names in (("lack", missing), ("have", more)) if names]
        raise PackageError(f"the weights are not those of {network}: they {' and '.join(parts)}")
    for name, tensor in own.items():
        if name in state and state[name].shape != tensor.shape:
            raise PackageError(
                f"the weights are not those of {network}: {name!r} has the shape {tuple(state[name].shape)}, "
                f"not {tuple(tensor.shape)}"
            )
    module.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(repr(name[:80]) for name in names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
