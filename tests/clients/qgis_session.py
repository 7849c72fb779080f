"""A session of QGIS without a display, run by a Python that has it: algorithms, cancelling, pictures of layers.

The argument is a JSON file with `plugins` (QGIS's and the one under test), `connections` and `steps`; what comes of each
step is printed as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsAuthMethodConfig,
    QgsDataSourceUri,
    QgsFeatureRequest,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProject,
    QgsRasterLayer,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

WARNINGS: list[str] = []
"""Of the log of messages, those that came while the plugin started."""


class Listening(QgsProcessingFeedback):
    """Keeps what is told, and cancels after some seconds."""

    def __init__(self, cancel_after: float | None) -> None:
        super().__init__(False)
        self.told: list[str] = []
        self.timer = threading.Timer(cancel_after or 0, self.cancel)
        if cancel_after is not None:
            self.timer.start()

    def pushInfo(self, info: str) -> None:  # noqa: N802
        self.told.append(info)

    def pushWarning(self, warning: str) -> None:  # noqa: N802
        self.told.append(f"Warning: {warning}")

    def reportError(self, error: str, fatalError: bool = False) -> None:  # noqa: N802, N803
        self.told.append(f"Error: {error}")


def layer_of(step: dict[str, Any]) -> QgsVectorLayer:
    """Return a layer as a person has left it: with a selection, a filter, or changes that are not saved."""
    layer = QgsVectorLayer(step["path"], step.get("name", "layer"), "ogr")
    QgsProject.instance().addMapLayer(layer)
    if "filter" in step:
        layer.setSubsetString(step["filter"])
    if "select" in step:
        layer.selectByExpression(step["select"])
    if "delete" in step:
        layer.startEditing()
        layer.deleteFeatures(
            [feature.id() for feature in layer.getFeatures(QgsFeatureRequest().setFilterExpression(step["delete"]))]
        )
    return layer


def value_of(value: Any) -> Any:
    if isinstance(value, dict):
        layer = layer_of(value)
        return QgsProcessingFeatureSourceDefinition(layer.id(), bool(value.get("select")))
    return value


def run(step: dict[str, Any]) -> dict[str, Any]:
    import processing  # which is there once QGIS has started

    feedback, context = Listening(step.get("cancel_after")), QgsProcessingContext()
    context.setProject(QgsProject.instance())
    context.setFeedback(feedback)
    parameters = {name: value_of(value) for name, value in step["parameters"].items()}
    try:
        results = processing.run(step["run"], parameters, feedback=feedback, context=context)
        return {"results": results, "told": feedback.told, "cancelled": feedback.isCanceled()}
    except Exception as error:  # noqa: BLE001
        return {"error": str(error), "told": feedback.told}


def listed(step: dict[str, Any]) -> dict[str, Any]:
    """Return the algorithms of a provider, and what the log warned of when they were read."""
    provider = QgsApplication.processingRegistry().providerById(step["listed"])
    return {"algorithms": sorted(item.name() for item in provider.algorithms()), "warnings": WARNINGS}


def describe(step: dict[str, Any]) -> dict[str, Any]:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(step["describe"])
    parameters = {
        item.name(): [item.type(), bool(item.flags() & item.FlagOptional), bool(item.flags() & item.FlagAdvanced)]
        for item in algorithm.parameterDefinitions()
    }
    return {"parameters": parameters, "help": algorithm.shortHelpString(), "url": algorithm.helpUrl()}


def model(step: dict[str, Any]) -> dict[str, Any]:
    """Run a model of two: the algorithm, whose output goes to one of QGIS's own with an expression."""
    import processing

    static, made = QgsProcessingModelChildParameterSource.fromStaticValue, QgsProcessingModelAlgorithm("model", "tests")
    first = QgsProcessingModelChildAlgorithm(step["model"])
    first.setChildId("first")
    for name, value in step["parameters"].items():
        first.addParameterSources(name, [static(item) for item in (value if isinstance(value, list) else [value])])
    made.addChildAlgorithm(first)
    second = QgsProcessingModelChildAlgorithm("native:extractbyexpression")
    second.setChildId("second")
    from_first = QgsProcessingModelChildParameterSource.fromChildOutput("first", step["output"])
    second.addParameterSources("INPUT", [from_first])
    second.addParameterSources("EXPRESSION", [static(step["expression"])])
    output = QgsProcessingModelOutput("chosen", "chosen")
    output.setChildId("second")
    output.setChildOutputName("OUTPUT")
    second.setModelOutputs({"chosen": output})
    made.addChildAlgorithm(second)
    made.updateDestinationParameters()
    processing.run(made, {"second:chosen": step["target"]}, feedback=Listening(None))
    return {"features": QgsVectorLayer(step["target"]).featureCount()}


def collection(step: dict[str, Any]) -> dict[str, Any]:
    """Add a collection of OGC API - Features, write all its features to a file, and draw it in a style of its service."""
    source = QgsDataSourceUri()
    source.setParam("url", step["url"])
    source.setParam("typename", step["collection"])
    layer = QgsVectorLayer(source.uri(False), "result", "OAPIF")
    names = layer.fields().names()
    features = [[feature.geometry().asWkt(6), *feature.attributes()] for feature in layer.getFeatures()]
    Path(step["target"]).write_text(json.dumps([names, features], default=lambda value: None))  # QGIS's NULL
    _, is_styled = layer.loadNamedStyle(step["style"])
    return {"crs": layer.crs().authid(), "styled": is_styled, **picture_of(layer, step)}


def draw(step: dict[str, Any]) -> dict[str, Any]:
    """Draw a layer as it comes, in its own style, over an image."""
    return picture_of(QgsVectorLayer(step["draw"], "result", "ogr"), step)


def picture_of(layer: QgsVectorLayer, step: dict[str, Any]) -> dict[str, Any]:
    image = QgsRasterLayer(step["over"], "image")
    settings = QgsMapSettings()
    settings.setLayers([layer, image])
    settings.setDestinationCrs(image.crs())
    settings.setExtent(image.extent())
    settings.setOutputSize(QSize(800, 800))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(step["picture"])
    renderer = layer.renderer()
    categories = [item.label() for item in renderer.categories()] if renderer.type() == "categorizedSymbol" else []
    return {"renderer": renderer.type(), "categories": categories, "features": layer.featureCount()}


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    sys.path[:0] = document["plugins"]
    application = QgsApplication([], False)
    application.initQgis()
    settings, manager = QgsSettings(), QgsApplication.authManager()
    for name, connection in document["connections"].items():
        settings.setValue(f"ogcapi-processes/connections/{name}/url", connection["url"])
        if "user" in connection:
            manager.setMasterPassword("master", True)
            config = QgsAuthMethodConfig("Basic")
            config.setName(name)
            config.setConfigMap({"username": connection["user"], "password": connection["password"], "realm": ""})
            manager.storeAuthenticationConfig(config)
            settings.setValue(f"ogcapi-processes/connections/{name}/authcfg", config.id())
    from processing.core.Processing import Processing

    from ogcapi_processes import classFactory  # from the folder that was just named

    Processing.initialize()
    plugin = classFactory(None)
    QgsApplication.messageLog().messageReceived.connect(lambda message, *_: WARNINGS.append(message))
    plugin.initProcessing()
    print(json.dumps({"version": Qgis.QGIS_VERSION}))
    for step in document["steps"]:
        (act,) = [act for act in (run, listed, describe, model, collection, draw) if act.__name__ in step]
        print(json.dumps(act(step)))
    sys.stdout.flush()
    plugin.unload()
    application.exitQgis()


if __name__ == "__main__":
    main()
