"""Windows that lie in their image, where all cells are valid: most are, and they need no masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from processes.imagery.decoded_tile import Cells
from processes.imagery.tiles import TileReader


def copy_whole(tiles: TileReader, index: int, window: Sequence[int], cells: Cells) -> bool:
    """Copy a window from its tiles; return whether all its cells are valid ones of the image.

    Else they may be anything, and `TileReader.cut` is to be asked.

    Args:
        tiles: the images.
        index: of the image.
        window: column, row, width, height.
        cells: gets the cells, `(bands, height, width)`.
    """
    grid, (tile_height, tile_width) = tiles.images[index].grid, tiles.images[index].tile
    column, row, width, height = window
    right, bottom = column + width, row + height
    if column < 0 or row < 0 or right > grid.width or bottom > grid.height:
        return False
    rows = range(row // tile_height, (bottom - 1) // tile_height + 1)
    columns = range(column // tile_width, (right - 1) // tile_width + 1)
    stored = tiles.stored_tiles(index)
    if stored is not None and stored.count(rows.start, columns.start, rows.stop, columns.stop) < len(rows) * len(
        columns
    ):
        return False
    for tile_row, tile_column in product(rows, columns):
        tile = tiles.tile(index, tile_row, tile_column)
        if tile.mask is not None:
            return False
        y, x = tile_row * tile_height, tile_column * tile_width
        y1, y2, x1, x2 = max(row, y), min(bottom, y + tile_height), max(column, x), min(right, x + tile_width)
        cells[:, y1 - row : y2 - row, x1 - column : x2 - column] = tile.cells[:, y1 - y : y2 - y, x1 - x : x2 - x]
    return True


def are_kept(tiles: TileReader, index: int, window: Sequence[int]) -> bool:
    """Return whether all tiles that a window touches are decoded; of tiles that a file may lack nothing is said.

    Args:
        tiles: the images.
        index: of the image.
        window: column, row, width, height.
    """
    return tiles.stored_tiles(index) is not None or all(
        tiles.is_kept(index, *place) for place in _touched(tiles, index, window)
    )


def load(tiles: TileReader, index: int, window: Sequence[int]) -> None:
    """Decode the tiles of an image that a window touches, of many the first ones: more would push these out again.

    Args:
        tiles: the images.
        index: of the image.
        window: column, row, width, height.
    """
    for place in islice(_touched(tiles, index, window), tiles.most_together(index)):
        tiles.tile(index, *place)


def _touched(tiles: TileReader, index: int, window: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return row and column of each tile of an image that a window touches."""
    grid, (tile_height, tile_width) = tiles.images[index].grid, tiles.images[index].tile
    column, row, width, height = window
    rows = range(max(row, 0) // tile_height, (min(row + height, grid.height) - 1) // tile_height + 1)
    columns = range(max(column, 0) // tile_width, (min(column + width, grid.width) - 1) // tile_width + 1)
    return product(rows, columns)
