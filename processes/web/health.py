"""The view of the service's health, for whoever restarts it or sends it requests."""

from __future__ import annotations

from functools import cache
from typing import cast

from flask import Response
from pygeoapi.api import API

from processes.errors import UnavailableError
from processes.jobs.health import OK, Health
from processes.jobs.manager import JobManager
from processes.web.problem import problem_response
from processes.web.views import View, json_response


def health_view(api: API) -> View:
    """Return the view of the health: 200 where all is well, else 503."""

    @cache
    def health() -> Health:
        intake = cast(JobManager, api.manager).intake
        return Health(intake.store, intake.settings)

    def view() -> Response:
        found = health().report()
        wrong = [f"{name}: {words}" for name, words in found.items() if words != OK]
        if wrong:
            response: Response = problem_response(UnavailableError("; ".join(wrong)), members=found)
        else:
            response = json_response({"status": OK, **found})
        response.cache_control.no_store = True
        return response

    return view
