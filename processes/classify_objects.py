"""The process `classify-objects`: a request in, a classified layer out.

Read the inputs, open what they point to, plan the chips, run the model, publish the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from processes.classify_description import OUTPUT, describe
from processes.classify_request import open_material, read_inputs
from processes.description import Answer, Choose, Description, Process, Request
from processes.errors import Fault, RequestError, collected
from processes.features.result import FILE_ENDINGS, MediaType
from processes.model.catalog import Catalog
from processes.planning.plan import plan
from processes.publish import offered_media_types, publish, require_form
from processes.run import run
from processes.settings import Settings


class ClassifyObjects(Process):
    """Classifies objects on imagery."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog

    def describe(self) -> Description:
        return describe(self._catalog.usable())

    def check(self, request: Request, faults: list[Fault]) -> None:
        faults = list(faults)
        read_inputs(request, faults, self._catalog)
        if faults:
            raise RequestError(faults)

    def execute(
        self, request: Request, faults: list[Fault], folder: Path, choose: Choose, max_objects: int | None
    ) -> Answer:
        faults = list(faults)
        inputs = read_inputs(request, faults, self._catalog)
        files = folder / "files"
        files.mkdir()
        material = open_material(request, inputs, faults, self._settings, files)
        if inputs is None:
            raise RequestError(faults)
        media_type = inputs.media_type or cast(MediaType, choose(offered_media_types(material)))
        with collected(faults, "/outputs"):
            require_form(material, media_type, inputs.crs)
        planned = plan(material, self._settings.limits.max_objects, max_objects, faults)
        labels = run(planned)
        path = folder / f"{OUTPUT}{FILE_ENDINGS[media_type]}"
        publish(planned, labels, media_type, inputs.crs, path, inputs.result_name)
        return Answer(OUTPUT, media_type, path)
