"""The processes by the names of their pygeoapi plugins in the configuration; pygeoapi itself is not loaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from processes.classify.process import ClassifyObjects
from processes.describe_model import DescribeModel
from processes.echo import Echo
from processes.model.catalog import Catalog
from processes.ogc.process import Process
from processes.settings import Settings, load_configuration

Make = Callable[[Settings, int | None], Process]
"""Makes a process; a section of it may use so many cores, None = all."""

PLUGINS: Mapping[str, Make] = {
    "processes.plugin.ClassifyObjectsPlugin": lambda settings, cores: ClassifyObjects(
        settings, catalog_of(settings), cores
    ),
    "processes.plugin.DescribeModelPlugin": lambda settings, _: DescribeModel(catalog_of(settings)),
    "processes.plugin.EchoPlugin": lambda _, __: Echo(),
}


def catalog_of(settings: Settings) -> Catalog:
    """Return the installed models of a deployment."""
    return Catalog(settings.models, settings.state, settings.limits.max_model_mb * 2**20)


def load_processes(configuration: Path, cores: int | None = None) -> dict[str, Process]:
    """Return this project's processes that a configuration has, by id.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
        cores: that a section may use; None = all.
    """
    resources = load_configuration(configuration).get("resources", {})
    plugins = {name: item["processor"] for name, item in resources.items() if item.get("type") == "process"}
    base = configuration.resolve().parent
    return {
        name: PLUGINS[plugin["name"]](Settings.from_plugin(plugin, base), cores)
        for name, plugin in plugins.items()
        if plugin.get("name") in PLUGINS
    }
