"""Provider plugins, found by entry points.

Installed is not enabled: only plugins that the configuration names are imported, so a missing
extra breaks one provider and not the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from gateway.settings import ConfigError, Settings
from providers.contract import CONTRACT_VERSION, ENTRY_POINT_GROUP, ProviderPlugin


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """An installed plugin, as ``gateway providers`` lists it."""

    name: str
    origin: str
    enabled: bool
    plugin: ProviderPlugin | None
    problem: str | None = None


def installed() -> dict[str, EntryPoint]:
    """Entry points of all installed plugins, by name. Raises ConfigError on a name given twice."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        other = found.get(entry.name)
        if other is not None and other.value != entry.value:
            raise ConfigError(
                f"two installed plugins are called {entry.name!r}: {other.value} and {entry.value}"
            )
        found[entry.name] = entry
    return found


def load_plugin(entry: EntryPoint, place: str) -> ProviderPlugin:
    """Import a plugin. Raises ConfigError that says what to install."""
    try:
        plugin = entry.load()
    except ImportError as error:
        raise ConfigError(
            f"{place}: provider {entry.name!r} needs the package {error.name!r}: "
            f"pip install 'serverless-inference-gateway[{entry.name}]'"
        ) from error
    if not isinstance(plugin, ProviderPlugin):
        raise ConfigError(f"{place}: {entry.value} is not a ProviderPlugin")
    if plugin.contract_version != CONTRACT_VERSION:
        raise ConfigError(
            f"{place}: plugin {entry.name!r} speaks contract {plugin.contract_version}, "
            f"this gateway {CONTRACT_VERSION}"
        )
    return plugin


def list_plugins(settings: Settings) -> list[PluginInfo]:
    """Every installed plugin, loaded or not loadable, for people to look at."""
    used = {
        str(settings.providers.get(d.provider, {}).get("kind", d.provider))
        for d in settings.deployments.values()
    }
    infos = []
    for name, entry in sorted(installed().items()):
        origin = entry.dist.name if entry.dist is not None else "unknown"
        try:
            plugin, problem = load_plugin(entry, name), None
        except ConfigError as error:
            plugin, problem = None, str(error)
        enabled = name in used or (plugin is not None and bool(used & set(plugin.presets)))
        infos.append(PluginInfo(name, origin, enabled, plugin, problem))
    return infos


def plugin_with_preset(found: Mapping[str, EntryPoint], name: str) -> ProviderPlugin | None:
    """The plugin that has a preset of this name; None: there is none."""
    for entry in found.values():
        try:
            plugin = load_plugin(entry, name)
        except ConfigError:
            continue  # a plugin that cannot load offers no presets; it is reported when named
        if name in plugin.presets:
            return plugin
    return None
