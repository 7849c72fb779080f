"""Signing in by a browser at an issuer of OpenID Connect: the way there, and the way back."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from flask import Flask, Response, redirect, request
from pygeoapi.api import API

from processes.access.code_flow import SignInAttempt, end_sign_in, sign_in_address
from processes.access.issuer import Issuer
from processes.web.access import SIGN_IN, Visitors
from processes.web.pages import page
from processes.web.session_cookie import own_path
from processes.web.sign_in import begin_session
from processes.web.views import View

CALLBACK = f"{SIGN_IN}/callback"
"""Path that the issuer sends browsers back to."""
_BEGIN = f"{SIGN_IN}/begin"
_LASTS_S = 600
"""Seconds that somebody may take to sign in."""


def add_sign_in_at_issuer(app: Flask, api: API, visitors: Visitors, issuer: Issuer) -> None:
    """Let people sign in at the issuer.

    Args:
        app: gets the views.
        api: pygeoapi's API object.
        visitors: finds out who asks.
        issuer: that asks people who they are.
    """
    app.add_url_rule(SIGN_IN, "sign_in", _page_view(api, visitors, issuer))
    if issuer.named.client_id is not None:
        back_to = f"{api.config['server']['url'].rstrip('/')}{CALLBACK}"
        app.add_url_rule(_BEGIN, "sign_in_begin", _begin_view(visitors, issuer, issuer.named.client_id, back_to))
        app.add_url_rule(CALLBACK, "sign_in_end", _end_view(visitors, issuer, issuer.named.client_id, back_to))


def _page_view(api: API, visitors: Visitors, issuer: Issuer) -> View:
    def sign_in() -> Response:
        data = {"links": [], "issuer": issuer.named.url, "next": own_path(request.args.get("next"))}
        if issuer.named.client_id is not None:
            data["begin"] = f"{visitors.cookies.root}{_BEGIN}"
        response = page(api, "sign_in.html", data)
        response.cache_control.no_store = True
        return response

    return sign_in


def _begin_view(visitors: Visitors, issuer: Issuer, client_id: str, back_to: str) -> View:
    def begin() -> Response:
        attempt = SignInAttempt.make(own_path(request.args.get("next")))
        address = sign_in_address(issuer, client_id, attempt, back_to)
        response = cast(Response, redirect(address, HTTPStatus.SEE_OTHER))
        visitors.cookies.set(response, visitors.cookies.sign_in, attempt.text, _LASTS_S)
        response.cache_control.no_store = True
        return response

    return begin


def _end_view(visitors: Visitors, issuer: Issuer, client_id: str, back_to: str) -> View:
    def end() -> Response:
        attempt = SignInAttempt.read(request.cookies.get(visitors.cookies.sign_in))
        person = end_sign_in(issuer, client_id, attempt, request.args.to_dict(), back_to)
        response = begin_session(visitors, person, own_path(attempt.back))
        visitors.cookies.remove(response, visitors.cookies.sign_in)
        return response

    return end
