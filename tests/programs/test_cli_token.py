"""The commands of tokens, as an operator uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from processes.access.tokens import BearerToken
from processes.programs.cli import main
from service import configure
from tables import each_row


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("tokens"), models=[], imagery=[], settings={"access": "tokens"})


def call(configuration: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(configuration), "token", *arguments])


def test_a_token_is_printed_once(configuration: Path) -> None:
    made = call(configuration, "add", "anna", "--role", "viewer", "--days", "7")
    token = BearerToken.parse(made.stdout.strip())
    assert (made.exit_code, made.stdout.count("\n")) == (0, 1)
    assert token is not None
    listed = call(configuration, "list").stdout
    assert listed == call(configuration).stdout
    assert listed.startswith("anna ")
    assert all(word in listed for word in ("viewer", "good", "until"))
    assert token.secret not in listed
    assert call(configuration, "revoke", "anna").stdout == "anna revoked\n"
    assert "revoked" in call(configuration, "list").stdout


def test_who_gets_no_role_is_a_user_whose_token_has_no_end(configuration: Path) -> None:
    assert call(configuration, "add", "bob").exit_code == 0
    line = call(configuration, "list").stdout.splitlines()[-1]
    assert line.split()[:3] == ["bob", "user", "good"]
    assert line.endswith("no end")


def test_somebody_who_is_in_no_browser_is_signed_out_of_none(configuration: Path) -> None:
    done = call(configuration, "sign-out", "nobody")
    assert (done.exit_code, done.stdout) == (0, "nobody signed out of 0 browsers\n")


@each_row(
    ("arguments", "status", "words"),
    [
        (("revoke", "nobody"), 1, "there is no good token 'nobody'"),
        (("add", "a b"), 1, "the name 'a b' has to be"),
        (("add", "x", "--role", "king"), 2, "'king' is not one of 'viewer', 'user', 'operator'"),
        (("add", "x", "--days", "0"), 2, "0 is not in the range"),
        (("add",), 2, "Missing argument 'NAME'"),
    ],
)
def test_what_is_wrong_is_told(configuration: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = call(configuration, *arguments)
    assert done.exit_code == status
    assert words in done.stderr
    assert done.stdout == ""
