"""What pages load, and what they may do. Everything comes from this service."""

from __future__ import annotations

from pathlib import Path

from flask import Response, request, send_from_directory

from processes.web.views import View

STATIC = Path(__file__).with_name("static")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_KEPT_S = 3600
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


def assets_view() -> View:
    """Return the view of the files that pages load."""

    def assets(name: str) -> Response:
        response = send_from_directory(STATIC, name, max_age=_KEPT_S)
        response.content_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
        return response

    return assets


def restrict_page(response: Response) -> None:
    """Let a page load and run only what comes from this service, and no script or style that stands in it.

    Swagger UI writes styles into its page: there, and only there, they are allowed.
    """
    policy = _POLICY | ({"style-src": "'self' 'unsafe-inline'"} if request.path == "/openapi" else {})
    response.headers["Content-Security-Policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
    response.headers["Referrer-Policy"] = "same-origin"
