"""A process of a server as an algorithm of QGIS."""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputString,
    QgsProcessingUtils,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QIcon

from .client import Client
from .connections import Connection
from .description import InputKind, OutputKind, ProcessDescription, ProcessInput, ProcessOutput
from .forms import InputForms, Uploads, forms_for
from .jobs import ExecutionAnswer, execute
from .parameters import IN_REQUEST, destination_of, free_name, output_names, parameter_of, way_parameter
from .problems import ServerError
from .results import outputs_of_request, write_outputs
from .sources import InputSource, source_of_file, source_of_raster, source_of_vector
from .values import OF_FILES, ValueReader

ICON = Path(__file__).with_name("icon.svg")


class StyleLoader(QgsProcessingLayerPostProcessorInterface):
    """Shows a result in the style that lies in it or beside it."""

    alive: ClassVar[list[StyleLoader]] = []
    """QGIS keeps no hold of them."""

    def postProcessLayer(self, layer: Any, context: Any, feedback: Any) -> None:  # noqa: N802
        """Load the style of a layer, where there is one."""
        layer.loadDefaultStyle()
        layer.triggerRepaint()


class ProcessAlgorithm(QgsProcessingAlgorithm):
    """A process of a server."""

    def __init__(self, connection: Connection, process: ProcessDescription, uploads: Uploads) -> None:
        super().__init__()
        self._connection = connection
        self._process = process
        self._uploads = uploads
        self._destinations = output_names(process)
        names = {given.id for given in process.inputs} | set(self._destinations.values())
        self._way = free_name("run_as", names)
        self._job = free_name("job", names)
        self._values: dict[str, Any] = {}
        self._sources: list[tuple[ProcessInput, list[InputSource]]] = []

    def createInstance(self) -> ProcessAlgorithm:  # noqa: N802
        """Return another one of the same process."""
        return ProcessAlgorithm(self._connection, self._process, self._uploads)

    def name(self) -> str:
        """Return the name by which scripts know the process: its connection, a point, its id."""
        return re.sub(r"[^\w.-]", "_", f"{self._connection.name}.{self._process.id}")

    def displayName(self) -> str:  # noqa: N802
        """Return the title."""
        return self._process.title

    def group(self) -> str:
        """Return the name of the connection."""
        return self._connection.name

    def groupId(self) -> str:  # noqa: N802
        """Return the name of the connection."""
        return self._connection.name

    def icon(self) -> QIcon:
        """Return the icon of the plugin."""
        return QIcon(str(ICON))

    def tags(self) -> list[str]:
        """Return the words by which it is found."""
        return [*self._process.keywords, self._process.id, "OGC API"]

    def shortDescription(self) -> str:  # noqa: N802
        """Return what it does."""
        return _escaped(self._process.help)

    def shortHelpString(self) -> str:  # noqa: N802
        """Return what it does, and what its inputs and outputs are."""
        parts = [f"<p>{_escaped(self._process.help)}</p>"]
        for heading, entries in (("Inputs", self._process.inputs), ("Outputs", self._process.outputs)):
            if entries:
                parts.append(f"<h3>{heading}</h3>")
                parts += [f"<p><b>{_escaped(entry.title)}</b><br>{_escaped(entry.help)}</p>" for entry in entries]
        return "".join([*parts, f"<p>{_escaped(self._connection.url)}</p>"])

    def helpUrl(self) -> str:  # noqa: N802
        """Return the server's page of the process."""
        return self._process.help_url

    def initAlgorithm(self, configuration: Mapping[str, Any] | None = None) -> None:  # noqa: N802
        """Define parameters and outputs."""
        for given in self._process.inputs:
            self.addParameter(parameter_of(given))
        if self._process.sync and self._process.job:
            self.addParameter(way_parameter(self._way))
        alone = len(self._process.outputs) == 1
        for output in self._process.outputs:
            self.addParameter(destination_of(output, self._destinations[output.id], alone))
        if self._process.job:
            self.addOutput(QgsProcessingOutputString(self._job, "Address of the job"))

    def prepareAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Read the parameters, where layers may be touched."""
        reader = ValueReader(self, parameters, context)
        for given in self._process.inputs:
            if given.kind in OF_FILES:
                sources = self._read_sources(given, parameters, context)
                if sources:
                    self._sources.append((given, sources))
            else:
                value = reader.read(given)
                if value is not None:
                    self._values[given.id] = value
        return True

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Execute the process, and write its outputs."""
        targets = self._targets(parameters, context)
        places = {output: Path(place) for output, place in targets.items()}
        client = Client(self._connection)
        with tempfile.TemporaryDirectory(dir=QgsProcessingUtils.tempFolder()) as folder:
            try:
                answer = self._execute(client, self._runs_as_job(parameters, context), places, Path(folder), feedback)
                write_outputs(answer, places, client, context, feedback)
            except ServerError as error:
                if feedback.isCanceled():
                    return {}
                raise QgsProcessingException(self._explained(error)) from error
        self._show(targets, context, feedback)
        found: dict[str, Any] = {self._destinations[output.id]: place for output, place in targets.items()}
        return {**found, self._job: answer.job} if answer.job else found

    def _execute(
        self,
        client: Client,
        as_job: bool,
        targets: Mapping[ProcessOutput, Path],
        folder: Path,
        feedback: QgsProcessingFeedback,
    ) -> ExecutionAnswer:
        """Execute the process; what the server cannot read by a link it gets in another form."""
        forms = {given.id: forms_for(given, sources, client) for given, sources in self._sources}
        while True:
            files = {name: form.value(client, self._uploads, folder, feedback) for name, form in forms.items()}
            request = {"inputs": {**self._values, **files}, **outputs_of_request(targets)}
            try:
                return execute(client, self._process.id, request, as_job=as_job, folder=folder, feedback=feedback)
            except ServerError as error:
                refused = {fault.input_id for fault in error.faults}
                if not refused or not all(name in forms and forms[name].has_other for name in refused):
                    raise
                _take_next_form(forms, error, feedback)

    def _explained(self, error: ServerError) -> str:
        """Return all that is wrong, with the titles of the parameters that it is about."""
        if not error.faults:
            return str(error)
        titles = {given.id: given.title for given in self._process.inputs}
        lines = [
            f"{titles.get(fault.input_id, fault.input_id)} ({fault.input_id}): {fault.detail}"
            if fault.input_id
            else fault.detail
            for fault in error.faults
        ]
        return "\n".join(lines)

    def _read_sources(
        self, given: ProcessInput, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> list[InputSource]:
        value = parameters.get(given.id)
        if value in (None, "", []):
            return []
        if given.kind is InputKind.FILE:
            several = given.multiple and isinstance(value, (list, tuple))
            names = value if several else [self.parameterAsFile(parameters, given.id, context)]
            return [source_of_file(str(name)) for name in names]
        if given.multiple:
            layers = self.parameterAsLayerList(parameters, given.id, context)
            return [_source_of_layer(layer, context) for layer in layers]
        if given.kind is InputKind.RASTER:
            layer = self.parameterAsRasterLayer(parameters, given.id, context)
            if layer is None:
                raise QgsProcessingException(self.invalidRasterError(parameters, given.id))
            return [source_of_raster(layer)]
        whole = True
        if isinstance(value, QgsProcessingFeatureSourceDefinition):
            whole = not (value.selectedFeaturesOnly or value.featureLimit >= 0)
            name, _ = value.source.valueAsString(context.expressionContext())
            layer = QgsProcessingUtils.mapLayerFromString(name, context)
        else:
            layer = self.parameterAsVectorLayer(parameters, given.id, context)
        features = self.parameterAsSource(parameters, given.id, context)
        if features is None or not isinstance(layer, QgsVectorLayer):
            raise QgsProcessingException(self.invalidSourceError(parameters, given.id))
        return [source_of_vector(layer, features, whole, context)]

    def _targets(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[ProcessOutput, str]:
        """Return the files that the outputs go to; an output that is skipped is not among them."""
        found = {}
        for output in self._process.outputs:
            name = self._destinations[output.id]
            if output.kind is OutputKind.FILE:
                place = self.parameterAsFileOutput(parameters, name, context)
            else:
                place = self.parameterAsOutputLayer(parameters, name, context)
            if place:
                found[output] = place
        return found

    def _runs_as_job(self, parameters: dict[str, Any], context: QgsProcessingContext) -> bool:
        if not (self._process.sync and self._process.job):
            return self._process.job
        return self.parameterAsEnumString(parameters, self._way, context) != IN_REQUEST

    def _show(
        self, targets: Mapping[ProcessOutput, str], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Have layers shown in their style, and small texts in the log."""
        for output, place in targets.items():
            if output.kind is not OutputKind.FILE:
                if context.willLoadLayerOnCompletion(place):
                    StyleLoader.alive.append(StyleLoader())
                    context.layerToLoadOnCompletionDetails(place).setPostProcessor(StyleLoader.alive[-1])
            elif Path(place).suffix in (".json", ".txt") and Path(place).stat().st_size < 10_000:
                feedback.pushInfo(f"{output.title}: {Path(place).read_text(encoding='utf-8', errors='replace')}")


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _source_of_layer(layer: QgsMapLayer, context: QgsProcessingContext) -> InputSource:
    if isinstance(layer, QgsVectorLayer):
        return source_of_vector(layer, QgsProcessingFeatureSource(layer, context), True, context)
    return source_of_raster(layer)


def _take_next_form(forms: Mapping[str, InputForms], error: ServerError, feedback: QgsProcessingFeedback) -> None:
    details = {fault.input_id: fault.detail for fault in error.faults}
    for name, form in forms.items():
        if name in details:
            del form.forms[0]
            feedback.pushInfo(f"{form.given.title}: sent {form.forms[0].value}, since {details[name]}")
