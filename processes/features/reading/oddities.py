"""What is odd about single features: it is read as well as it can be, and told."""

from __future__ import annotations

from enum import Enum

from processes.errors import LayerError


class Oddity(Enum):
    """A kind of what is not read as it stands: what is said of one, and of several."""

    NO_NUMBER = (
        "an attribute of feature {first} is NaN or infinite, which JSON does not know, and is null",
        "{count} values of attributes are NaN or infinite, which JSON does not know, and are null; "
        "the first is in feature {first}",
    )
    NO_PROPERTIES = (
        "the properties of feature {first} are no object; it has no attributes",
        "the properties of {count} features are no objects; they have no attributes; the first is feature {first}",
    )
    NO_ID = (
        "the id of feature {first} is neither a number nor a text; it is left out",
        "the ids of {count} features are neither numbers nor texts; they are left out; the first is feature {first}",
    )
    NO_GEOMETRY = (
        "feature {first} has no member geometry; its geometry counts as empty",
        "{count} features have no member geometry; their geometries count as empty; the first is feature {first}",
    )
    NO_COORDINATES = (
        "feature {first} has a geometry without coordinates; it counts as empty",
        "{count} features have geometries without coordinates; they count as empty; the first is feature {first}",
    )
    OPEN_RING = (
        "feature {first} has a ring that does not end where it begins; it is closed",
        "{count} features have rings that do not end where they begin; they are closed; the first is feature {first}",
    )
    TOO_FEW_POINTS = (
        "feature {first} has a line or a ring of too few points; it is left out",
        "{count} features have lines or rings of too few points; they are left out; the first is feature {first}",
    )
    NO_HEIGHT = (
        "feature {first} has a height that is no finite number; it is left out",
        "{count} features have heights that are no finite numbers; they are left out; the first is feature {first}",
    )
    MORE_COORDINATES = (
        "feature {first} has points of more than three coordinates; x, y and z are read",
        "{count} features have points of more than three coordinates; x, y and z are read; "
        "the first is feature {first}",
    )
    FALLBACK_GEOMETRY = (
        "the place of feature {first} is of a type that is not read; its geometry in longitude and latitude is",
        "the places of {count} features are of types that are not read; their geometries in longitude and latitude "
        "are; the first is feature {first}",
    )


class Oddities:
    """Counts what is odd about a layer's features, by kind."""

    def __init__(self) -> None:
        self._counts: dict[Oddity, int] = {}
        self._first: dict[Oddity, int] = {}
        self._unread: tuple[int, str] | None = None
        self._unread_count = 0

    def add(self, oddity: Oddity, index: int, count: int = 1) -> None:
        """Count what is odd about a feature.

        Args:
            oddity: its kind.
            index: of the feature in the layer.
            count: how often the feature has it; 0 = it has not.
        """
        if count:
            self._counts[oddity] = self._counts.get(oddity, 0) + count
            self._first[oddity] = min(index, self._first.get(oddity, index))

    def add_unread(self, index: int, why: str) -> None:
        """Count a feature whose geometry cannot be read and counts as empty; `index` is that in the layer."""
        self._unread = self._unread or (index, why[:200])
        self._unread_count += 1

    def require_geometry(self, has_geometry: bool) -> None:
        """Raise LayerError where geometries of a layer cannot be read, and it has no other ones."""
        if self._unread is not None and not has_geometry:
            index, why = self._unread
            raise LayerError(f"feature {index + 1} has a geometry that cannot be read: {why}")

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each kind; it has the count and the first feature's position from 1."""
        kinds = [
            oddity.value[count > 1].format(count=count, first=self._first[oddity] + 1)
            for oddity, count in self._counts.items()
        ]
        if self._unread is not None:
            index, why = self._unread
            kinds.append(
                f"the geometry of feature {index + 1} cannot be read and counts as empty: {why}"
                if self._unread_count == 1
                else f"{self._unread_count} geometries cannot be read and count as empty; "
                f"the first is that of feature {index + 1}: {why}"
            )
        return tuple(kinds)
