"""Signing in and out by a browser, with a token of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from flask import Flask, Response, redirect, request
from pygeoapi.api import API

from processes.access.audit import AuditEvent
from processes.access.person import Person
from processes.errors import ForbiddenError, UnauthorizedError
from processes.jobs.session_store import LASTS_S
from processes.ogc.problem import status_of, type_of
from processes.web.access import SIGN_IN, Visitors
from processes.web.pages import page
from processes.web.problem import ProblemResponse
from processes.web.session_cookie import own_path
from processes.web.views import View
from processes.web.who import audit_refusal, audit_request, current_person

_PAGE = "sign_in.html"


def add_sign_in(app: Flask, api: API, visitors: Visitors) -> None:
    """Let people sign in with tokens of the service.

    Args:
        app: gets the views.
        api: pygeoapi's API object.
        visitors: finds out who asks.
    """
    app.add_url_rule(SIGN_IN, "sign_in", _sign_in_view(api, visitors), methods=["GET", "POST"])


def add_sign_out(app: Flask, api: API, visitors: Visitors) -> None:
    """Let people sign out, and see where else they are signed in.

    Args:
        app: gets the views.
        api: pygeoapi's API object.
        visitors: have the sessions.
    """
    app.add_url_rule("/sign-out", "sign_out", _sign_out_view(visitors), methods=["POST"])
    everywhere = _sign_out_everywhere_view(visitors)
    app.add_url_rule("/sign-out/everywhere", "sign_out_everywhere", everywhere, methods=["POST"])
    app.add_url_rule("/sessions", "sessions", _sessions_view(api, visitors))


def _sign_in_view(api: API, visitors: Visitors) -> View:
    def sign_in() -> Response:
        back = own_path(request.values.get("next"))
        if request.method != "POST":
            return sign_in_page(api, back)
        require_own_page(visitors)
        try:
            token_id, person = visitors.tokens.look_up(request.form.get("token", "").strip())
        except UnauthorizedError as err:
            audit_refusal(type_of(err), status_of(err))
            return sign_in_page(api, back, err.detail)
        return begin_session(visitors, person, back, token_id)

    return sign_in


def _sign_out_view(visitors: Visitors) -> View:
    def sign_out() -> Response:
        require_own_page(visitors)
        if key := request.cookies.get(visitors.cookies.session):
            visitors.sessions.end(key)
        response = _lead(visitors, SIGN_IN)
        visitors.cookies.remove(response, visitors.cookies.session)
        return response

    return sign_out


def _sign_out_everywhere_view(visitors: Visitors) -> View:
    def sign_out_everywhere() -> Response:
        ended = visitors.sessions.end_all(current_person().name)
        audit_request(AuditEvent.SESSIONS_ENDED, sessions=ended)
        response = _lead(visitors, SIGN_IN)
        visitors.cookies.remove(response, visitors.cookies.session)
        return response

    return sign_out_everywhere


def _sessions_view(api: API, visitors: Visitors) -> View:
    def sessions() -> Response:
        key = request.cookies.get(visitors.cookies.session)
        found = visitors.sessions.of(current_person().name, key, by_token=visitors.issuer is None)
        response = page(api, "sessions.html", {"links": [], "sessions": found})
        response.cache_control.no_store = True
        return response

    return sessions


def require_own_page(visitors: Visitors) -> None:
    """Raise ForbiddenError where no page of the service makes the request: nobody is signed in or out by another."""
    if not visitors.is_own_page():
        raise ForbiddenError("only the service's own pages sign somebody in or out")


def sign_in_page(api: API, back: str, problem: str | None = None) -> Response:
    """Return the page where people sign in.

    Args:
        api: pygeoapi's API object.
        back: path that they are led to then.
        problem: what went wrong when they tried; None = nothing.
    """
    response = page(api, _PAGE, {"links": [], "next": back, "problem": problem})
    if problem is not None:  # it is the page of the error, too
        response = ProblemResponse(response.get_data(), HTTPStatus.UNAUTHORIZED, content_type=response.content_type)
    response.cache_control.no_store = True
    return response


def begin_session(visitors: Visitors, person: Person, back: str, token_id: str | None = None) -> Response:
    """Return the answer that signs somebody in, and leads them back.

    Args:
        visitors: have the sessions.
        person: who signs in.
        back: path within the service.
        token_id: of the token with which they do; None = without one.
    """
    if former := request.cookies.get(visitors.cookies.session):
        visitors.sessions.end(former)
    response = _lead(visitors, back)
    visitors.cookies.set(response, visitors.cookies.session, visitors.sessions.begin(person, token_id), LASTS_S)
    return response


def _lead(visitors: Visitors, path: str) -> Response:
    response = cast(Response, redirect(f"{visitors.cookies.root}{path}", HTTPStatus.SEE_OTHER))
    response.cache_control.no_store = True
    return response
