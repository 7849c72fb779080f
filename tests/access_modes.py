"""What each role may, as a table; the web application in a mode of access, without a runner, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes.access.person import Role
from processes.jobs.database import Database
from processes.jobs.token_store import TokenStore
from processes.programs.web import prepare
from processes.settings import load_settings
from processes.web.app import create_application
from service import configure

JOB = "/jobs/00000000-0000-4000-8000-000000000000"
OWN = {"Origin": "http://localhost"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OPERATIONS = {
    # what is asked, with the least role that may: "": everybody, "anonymous": everybody if that is set
    "": ["GET /health", "GET /assets/own/pages.css", "GET /sign-in"],
    "anonymous": ["GET /", "GET /conformance", "GET /openapi", "GET /processes", "GET /processes/echo"],
    "viewer": [
        "GET /models", "GET /jobs", f"GET {JOB}", f"GET {JOB}/results", f"GET {JOB}/results/classifiedObjects", f"GET {JOB}/events",
        f"GET {JOB}/map", f"GET {JOB}/review", f"GET {JOB}/objects/1/chip.png", f"GET {JOB}/map/objects/0/0/0.mvt",
        f"GET {JOB}/map/imagery/0/0/0.webp", f"GET {JOB}/results/style.qml", "GET /collections", "GET /collections/x", "GET /collections/x/items",
        "GET /collections/x/queryables", "GET /sessions", "POST /sign-out/everywhere", "POST /processes/describe-model/execution",
    ],
    "user": [
        "POST /processes/echo/execution", "POST /processes/classify-objects/execution", "POST /processes/classify-objects/validate",
        f"DELETE {JOB}", "POST /uploads", "GET /uploads/x", "DELETE /uploads/x", "GET /imagery",
        f"GET {JOB}/shares", f"POST {JOB}/shares", f"DELETE {JOB}/shares/x",
    ],
    "operator": ["GET /metrics", "PUT /collections/x/items/1", "DELETE /collections/x/items/1"],
}  # fmt: skip
ORDER = ["", "anonymous", *Role]


def application(folder: Path, **settings: Any) -> Any:
    """Return an application without a runner, whose processes have these settings."""
    folder.mkdir(exist_ok=True)
    configuration = configure(folder, models=[], imagery=[], settings=settings)
    prepare(configuration)
    app = create_application(configuration)
    app.extensions["configuration"] = str(configuration)
    app.extensions["tokens"] = TokenStore(Database(load_settings(configuration).job_store))
    return app


def bearer(token: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(app: Any, operation: str, headers: Mapping[str, str] | None = None) -> Any:
    """Ask for an operation, with no cookies."""
    method, path = operation.split()
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    return app.test_client(use_cookies=False).open(path, method=method, headers=headers or {}, buffered=True, **body)


def refusals(app: Any, headers: Mapping[str, str] | None) -> dict[str, int]:
    """Return which operations are refused for want of a role or a name, with the status."""
    asked = {operation: ask(app, operation, headers).status_code for rows in OPERATIONS.values() for operation in rows}
    return {operation: status for operation, status in asked.items() if status in (401, 403)}


def operations_of(app: Any) -> set[tuple[str, str]]:
    """Return all that an application serves, by endpoint and method."""
    return {
        (rule.endpoint, method) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - {"OPTIONS"}
    }
