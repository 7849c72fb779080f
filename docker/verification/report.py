"""What was found, line by line."""

from __future__ import annotations


class Report:
    """What holds and what does not."""

    def __init__(self) -> None:
        self._failed: list[str] = []
        self._left_out: list[str] = []

    def check(self, is_right: bool, name: str, found: object = None) -> None:
        """Print whether something is as it has to be.

        Args:
            is_right: whether it is.
            name: what is checked.
            found: what was seen, which is printed too.
        """
        print(f"{'ok    ' if is_right else 'FAILED'} {name}{'' if found is None else f': {found}'}", flush=True)
        if not is_right:
            self._failed.append(name)

    def tell(self, words: str) -> None:
        """Print what explains the line before."""
        print(f"       {words}", flush=True)

    def leave_out(self, what: str) -> None:
        """Say what cannot be checked here."""
        self._left_out.append(what)

    def end(self) -> int:
        """Print what is left, and return the exit status."""
        print("\nNot checked here:" + "".join(f"\n- {what}" for what in self._left_out))
        print("\nall is well" if not self._failed else "\nfailed:" + "".join(f"\n- {name}" for name in self._failed))
        return 1 if self._failed else 0
