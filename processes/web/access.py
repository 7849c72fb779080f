"""Who makes a request, and whether their role allows it: looked at before each request, where the service asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from flask import Response, current_app, g, redirect, request
from pygeoapi.api import API

from processes.access.person import ANONYMOUS, EVERYBODY, Person, Role
from processes.errors import ForbiddenError, ServiceError, UnauthorizedError
from processes.jobs.manager import JobManager
from processes.jobs.session_store import SessionStore
from processes.jobs.token_store import TokenStore
from processes.settings import OPEN, Settings
from processes.web.origins import is_own_origin
from processes.web.pages import wants_error_page
from processes.web.roles import Openness, need_of
from processes.web.session_cookie import CookiePlace, asked_path
from processes.web.visible import SHARED_JOB

if TYPE_CHECKING:  # its library is slow to import, and large: only a service that asks an issuer has it
    from processes.access.issuer import Issuer

SIGN_IN = "/sign-in"
"""Path of the page where people sign in."""
_SCHEME = "bearer "
_READING = ("GET", "HEAD")
_UNKNOWN = f"say who you are: send a token in the header Authorization, as `Bearer …`, or sign in at {SIGN_IN}"


class Visitors:
    """Finds out who makes requests: by their tokens, or by the sessions of their browsers.

    Args:
        api: pygeoapi's API object.
        url: public URL of the service.
        issuer: of the tokens; None = they are the service's own.
    """

    def __init__(self, api: API, url: str, issuer: Issuer | None) -> None:
        self._manager = cast(JobManager, api.manager)
        self._url = url
        self.issuer = issuer
        self.cookies = CookiePlace.of(url)

    @cached_property
    def sessions(self) -> SessionStore:
        """Return the sessions of browsers."""
        return SessionStore(self._manager.intake.database)

    @cached_property
    def tokens(self) -> TokenStore:
        """Return the service's own tokens."""
        return TokenStore(self._manager.intake.database)

    def person(self) -> Person | None:
        """Return who makes the request; None = it does not say.

        Raises:
            UnauthorizedError: it says so by a token that is not good.
            UnavailableError: that cannot be found out now.
        """
        given = request.headers.get("Authorization", "")
        if given.lower().startswith(_SCHEME):
            text = given[len(_SCHEME) :].strip()
            if self.issuer is None:
                return self.tokens.person(text)
            from processes.access.identity_tokens import person_of

            return person_of(text, self.issuer, self.issuer.named.audience)
        key = request.cookies.get(self.cookies.session)
        if key and (request.method in _READING or self.is_own_page()):
            return self.sessions.person(key, by_token=self.issuer is None)
        return None

    def is_own_page(self) -> bool:
        """Return whether a page of the service makes the request: browsers say so of whatever changes something."""
        origin = request.headers.get("Origin")
        return origin is not None and is_own_origin(origin, request.host, self._url)


def visitors_of(settings: Settings, api: API) -> Visitors | None:
    """Return what finds out who makes requests; None = the service asks nobody."""
    if settings.access in (None, OPEN):
        return None
    url = api.config["server"]["url"]
    if settings.oidc is None:
        return Visitors(api, url, None)
    from processes.access.issuer import Issuer

    return Visitors(api, url, Issuer(settings.oidc, settings))


def access_check(settings: Settings, visitors: Visitors | None) -> Callable[[], Response | None]:
    """Return what finds out who makes each request, and refuses what they may not do.

    Args:
        settings: of the service.
        visitors: finds out who asks; None = the service asks nobody.
    """

    def check() -> Response | None:
        """Set `g.person`; raise UnauthorizedError or ForbiddenError where the request must not be answered."""
        if visitors is None:
            g.person = EVERYBODY
            return None
        g.person = ANONYMOUS
        if request.endpoint is None:  # there is nothing, which a page says to whoever asks
            g.person = _person_or_anonymous(visitors)
            return None
        if request.method == "OPTIONS":  # browsers ask without credentials; the answer tells of methods alone
            return current_app.make_default_options_response()
        need = need_of(request.endpoint, request.method, (request.view_args or {}).get("process_id"))
        if need is Openness.ALWAYS:
            return None
        person = visitors.person()
        if person is None and not (SHARED_JOB in g or (need is Openness.IF_ANONYMOUS and settings.anonymous)):
            if wants_error_page():
                return _to_sign_in(visitors.cookies.root)
            raise UnauthorizedError(_UNKNOWN)
        g.person = person or ANONYMOUS
        needed = Role.VIEWER if isinstance(need, Openness) else need
        if not g.person.role.allows(needed):
            raise ForbiddenError(f"the role {g.person.role} does not allow this; it needs the role {needed}")
        return None

    return check


def keep_private(response: Response) -> Response:
    """Let no cache give one person's answer to another."""
    if request.endpoint is None or need_of(request.endpoint, "GET") is not Openness.ALWAYS:
        response.cache_control.private = True
        response.vary.update(("Authorization", "Cookie"))
    return response


def _person_or_anonymous(visitors: Visitors) -> Person:
    try:
        return visitors.person() or ANONYMOUS
    except ServiceError:
        return ANONYMOUS


def _to_sign_in(root: str) -> Response:
    return cast(Response, redirect(f"{root}{SIGN_IN}?next={quote(asked_path(), safe='')}", 303))
