"""Signing in by a browser: OpenID Connect's authorization code flow, with PKCE, nonce and state."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import urlencode

import msgspec

from processes.access.identity_tokens import person_of
from processes.access.issuer import Issuer
from processes.access.person import Person
from processes.allowed_hosts import require_secure
from processes.errors import UnauthorizedError, UnavailableError

_SCOPE = "openid profile"
_AGAIN = "the sign-in was begun too long ago, or in another browser: begin again"


class SignInAttempt(msgspec.Struct, frozen=True):
    """What a browser keeps between the beginning of a sign-in and its end."""

    state: str
    """Comes back with the answer: only this browser can have begun it."""
    nonce: str
    """Comes back in the token: it was made for this sign-in."""
    verifier: str
    """Of PKCE: only who has it can change the code for the token."""
    back: str
    """Path that the browser is led to then."""

    @classmethod
    def make(cls, back: str) -> SignInAttempt:
        """Return a new attempt that ends at a path."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, back)

    @classmethod
    def read(cls, text: str | None) -> SignInAttempt:
        """Return the attempt that `text` was made of; raise UnauthorizedError where it is none."""
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text or ""), type=cls)
        except (ValueError, msgspec.DecodeError) as err:
            raise UnauthorizedError(_AGAIN) from err

    @property
    def text(self) -> str:
        """Return it as a cookie holds it."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def sign_in_address(issuer: Issuer, client_id: str, attempt: SignInAttempt, redirect_uri: str) -> str:
    """Return the address of the issuer where somebody signs in.

    Args:
        issuer: that asks who they are.
        client_id: that it knows the service as.
        attempt: that this begins.
        redirect_uri: address of the service that the issuer sends them back to.

    Raises:
        UnavailableError: the issuer does not answer, or lets nobody sign in.
    """
    address = issuer.endpoints().authorization_endpoint
    try:
        require_secure(address)
    except ValueError as err:
        raise UnavailableError(f"the issuer {issuer.named.url} names no address to sign in at safely") from err
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": _SCOPE,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def end_sign_in(
    issuer: Issuer, client_id: str, attempt: SignInAttempt, answer: dict[str, str], redirect_uri: str
) -> Person:
    """Return who has signed in.

    Args:
        issuer: that asked who they are.
        client_id: that it knows the service as.
        attempt: that was begun in this browser.
        answer: parameters with which the issuer sent the browser back.
        redirect_uri: address of the service that it was sent back to.

    Raises:
        UnauthorizedError: nobody has, or not by this attempt.
        UnavailableError: the issuer does not answer.
    """
    if not hmac.compare_digest(attempt.state.encode(), answer.get("state", "").encode()):
        raise UnauthorizedError(_AGAIN)
    if answer.get("iss", issuer.named.url) != issuer.named.url:  # RFC 9207: another issuer's answer
        raise UnauthorizedError(_AGAIN)
    if "code" not in answer:
        raise UnauthorizedError(
            f"the issuer {issuer.named.url} signed nobody in: {answer.get('error', 'no code')[:100]}"
        )
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": redirect_uri,
        "client_id": client_id,
        "code_verifier": attempt.verifier,
    }
    token = issuer.change_code(urlencode(form).encode()).get("id_token")
    if not isinstance(token, str):
        raise UnauthorizedError(f"the issuer {issuer.named.url} does not say who signed in")
    return person_of(token, issuer, client_id, attempt.nonce)
