"""The processes, by the names of their plugins in the configuration. This module does not load pygeoapi."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from processes.classify.process import ClassifyObjects
from processes.describe_model import DescribeModel
from processes.echo import Echo
from processes.model.catalog import Catalog
from processes.ogc.process import Process
from processes.settings import Settings, base_folder, load_configuration

CreateProcess = Callable[[Settings, Catalog, int | None], Process]
"""Creates a process from the settings, the models, and the number of cores that a section may use; None = all."""

PLUGINS: Mapping[str, CreateProcess] = {
    "processes.plugin.ClassifyObjectsPlugin": ClassifyObjects,
    "processes.plugin.DescribeModelPlugin": lambda _, catalog, __: DescribeModel(catalog),
    "processes.plugin.EchoPlugin": lambda settings, *_: Echo(settings.max_pause_s),
}


def load_processes(configuration: Path, cores: int | None = None) -> dict[str, Process]:
    """Return the processes of this project that a configuration names, by id.

    Args:
        configuration: the `pygeoapi-config.yml`; relative paths in it start at its `base_folder`.
        cores: number of cores that a section may use; None = all.
    """
    resources = load_configuration(configuration).get("resources", {})
    plugins = {name: item["processor"] for name, item in resources.items() if item.get("type") == "process"}
    base = base_folder(configuration)
    return {
        name: _create(PLUGINS[plugin["name"]], Settings.from_plugin(plugin, base), cores)
        for name, plugin in plugins.items()
        if plugin.get("name") in PLUGINS
    }


def _create(create: CreateProcess, settings: Settings, cores: int | None) -> Process:
    return create(settings, Catalog.from_settings(settings), cores)
