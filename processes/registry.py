"""The processes, by the names of their plugins in the configuration. This module does not load pygeoapi."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from processes.classify.process import ClassifyObjects
from processes.describe_model import DescribeModel
from processes.echo import Echo
from processes.model.catalog import Catalog
from processes.ogc.process import Process
from processes.settings import Settings, load_configuration

CreateProcess = Callable[[Settings, int | None], Process]
"""Creates a process from the settings and the number of cores that a section may use; None = all."""

PLUGINS: Mapping[str, CreateProcess] = {
    "processes.plugin.ClassifyObjectsPlugin": lambda settings, cores: ClassifyObjects(
        settings, Catalog.from_settings(settings), cores
    ),
    "processes.plugin.DescribeModelPlugin": lambda settings, _: DescribeModel(Catalog.from_settings(settings)),
    "processes.plugin.EchoPlugin": lambda _, __: Echo(),
}


def load_processes(configuration: Path, cores: int | None = None) -> dict[str, Process]:
    """Return the processes of this project that a configuration names, by id.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its folder.
        cores: number of cores that a section may use; None = all.
    """
    resources = load_configuration(configuration).get("resources", {})
    plugins = {name: item["processor"] for name, item in resources.items() if item.get("type") == "process"}
    base = configuration.resolve().parent
    return {
        name: PLUGINS[plugin["name"]](Settings.from_plugin(plugin, base), cores)
        for name, plugin in plugins.items()
        if plugin.get("name") in PLUGINS
    }
