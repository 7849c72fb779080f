"""Tokens of an issuer of OpenID Connect (JWT): what they must be like, and whom they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from processes.access.issuer import NOBODY, Issuer
from processes.access.person import Person, Role
from processes.errors import UnauthorizedError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Of signatures with a private key, whatever a token or a key says."""
_SKEW_S = 60
"""Seconds by which the clocks of issuer and service may differ."""
_MAX_TOKEN, _MAX_NAME = 16_384, 255
_TITLES = ("preferred_username", "email", "name")


def person_of(text: str, issuer: Issuer, audience: str, nonce: str | None = None) -> Person:
    """Return whom a token is of.

    Args:
        text: the token.
        issuer: that must have signed it.
        audience: that it must be for.
        nonce: of the sign-in that it must be made for, and for nobody else; None = a program has brought it.

    Raises:
        UnauthorizedError: it is not good.
        UnavailableError: the issuer's keys cannot be had.
    """
    claims = _claims(text, issuer, audience)
    name = claims["sub"]
    if len(name) > _MAX_NAME or (nonce is not None and not _is_of_sign_in(claims, audience, nonce)):
        raise UnauthorizedError(NOBODY)
    titles = (claims.get(title) for title in _TITLES)
    title = next((item for item in titles if isinstance(item, str) and item), "")
    return Person(name, role_of(claims, issuer.named.role_claim), title[:_MAX_NAME])


def role_of(claims: Mapping[str, Any], name: str) -> Role:
    """Return the highest role that a claim names; who has none is a viewer.

    Args:
        claims: of the token.
        name: of the claim that holds a role, or a list of them; where there is none of it, dots lead into objects.
    """
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    named = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return max((role for role in Role if role.value in named), key=list(Role).index, default=Role.VIEWER)


def _is_of_sign_in(claims: Mapping[str, Any], client_id: str, nonce: str) -> bool:
    """Return whether a token was made for a sign-in, and for this client: OpenID Connect Core, section 3.1.3.7."""
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    party = claims.get("azp", client_id if audiences == [client_id] else None)
    return claims.get("nonce") == nonce and party == client_id


def _claims(text: str, issuer: Issuer, audience: str) -> Mapping[str, Any]:
    """Return what a token says, once its signature and all that limits it has been checked."""

    def key(token: Any) -> Key:
        header = token.headers()
        if header.get("alg") not in ALGORITHMS:  # before the issuer is asked for anything
            raise UnauthorizedError(NOBODY)
        key_id = header.get("kid")
        return issuer.key(key_id if isinstance(key_id, str) else None)

    if len(text) > _MAX_TOKEN:
        raise UnauthorizedError(NOBODY)
    rules = jwt.JWTClaimsRegistry(
        leeway=_SKEW_S,
        iss={"essential": True, "value": issuer.named.url},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        sub={"essential": True},
    )
    try:
        claims = jwt.decode(text, key, list(ALGORITHMS)).claims
        rules.validate(claims)
    except (JoseError, ValueError) as err:
        raise UnauthorizedError(NOBODY) from err
    return claims
