"""A small issuer of OpenID Connect of a test's own: it signs what a test says, turns keys over, is slow or gone."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

AUDIENCE = "classify"
CLIENT = "classify-pages"


@dataclass
class SmallIssuer:
    """A running issuer."""

    url: str = ""
    keys: list[Key] = field(default_factory=lambda: [RSAKey.generate_key(2048, {"kid": "first"})])
    """That it signs with, the last one first of all; their public halves can be fetched."""
    delay_s: float = 0
    """Before each answer."""
    is_down: bool = False
    """Whether it answers with 500 to all."""
    changes: dict[str, Any] = field(default_factory=dict)
    """What it says of itself that is other than usual."""
    codes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Claims of who has signed in, and the challenge, by the code."""
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for."""
    visitor: Mapping[str, Any] = field(default_factory=dict)
    """Claims of whose browser comes to sign in; it is not asked."""

    def turn_over(self, key_id: str) -> None:
        """Sign with a new key, and keep no other."""
        self.keys = [ECKey.generate_key("P-256", {"kid": key_id})]

    def token(self, header: Mapping[str, Any] | None = None, key: Key | None = None, **claims: Any) -> str:
        """Return a token that is good, but for what is given: a claim or a part of its header that is None is left out.

        Args:
            header: of the token, beside the usual one.
            key: that it is signed with; None = the issuer's.
            claims: beside the usual ones.
        """
        key, now = key or self.keys[-1], int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "exp": now + 300, "iat": now, "roles": ["user"]}
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        headers = {"alg": algorithm, "kid": key.kid} | dict(header or {})
        return jwt.encode(
            {name: value for name, value in headers.items() if value is not None},
            {name: value for name, value in (usual | claims).items() if value is not None},
            key,
            algorithms=["RS256", "ES256", "HS256", "none", "PS256"],
        )

    def sent_back(self, query: Mapping[str, list[str]]) -> str:
        """Return the address that a browser is sent back to from where people sign in, with a code for its visitor."""
        asked = {name: values[0] for name, values in query.items()}
        code = f"code-{len(self.asked)}"
        claims = {"nonce": asked["nonce"]} | dict(self.visitor)
        self.codes[code] = {"challenge": asked["code_challenge"], "claims": claims}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def answer(self, path: str, form: Mapping[str, list[str]]) -> tuple[int, Any]:
        """Return status and document of an answer."""
        if self.is_down:
            return 500, {}
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.url,
                    "jwks_uri": f"{self.url}/keys",
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                } | self.changes
            case "/keys":
                secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
                return 200, {"keys": [secret, *(key.as_dict(private=False) for key in self.keys), {"kty": "odd"}]}
            case "/token":
                claims = self.codes.pop(form["code"][0], None)
                verifier = form["code_verifier"][0].encode()
                challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
                if claims is None or claims["challenge"] != challenge or form["client_id"] != [CLIENT]:
                    return 400, {"error": "invalid_grant"}
                return 200, {"id_token": self.token(None, None, **{"aud": CLIENT} | dict(claims["claims"]))}
        return 404, {}


@contextmanager
def small_issuer() -> Iterator[SmallIssuer]:
    """Start an issuer."""
    issuer = SmallIssuer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        def _answer(self, form: Mapping[str, list[str]]) -> None:
            issuer.asked.append(self.path)
            time.sleep(issuer.delay_s)
            address = urlsplit(self.path)
            if address.path == "/authorize":
                self.send_response(303)
                self.send_header("Location", issuer.sent_back(parse_qs(address.query)))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, document = issuer.answer(self.path, form)
            body = json.dumps(document).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has given up
                self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    yield issuer
    server.shutdown()
    server.server_close()
