"""What the plugins of one box bring, as plain values; a box without plugins holds `NOTHING`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from akazuba.wording.catalogue import BroughtTable

if TYPE_CHECKING:
    from akazuba.plugins.observers import Observers
    from akazuba.plugins.reading import ImageReader, SensorReader

Brought = Sequence[tuple[str, Path]]
"""Folders, each with the name of the plugin that brings it."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded. brings: in words. sha256: of its files."""

    name: str
    version: str
    sha256: str
    brings: tuple[str, ...]


@dataclass(frozen=True)
class Plugins:
    """refused: (plugin, why) of what could not be used when it was loaded. languages: by code."""

    loaded: tuple[Plugin, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    readers: Mapping[str, ImageReader] = field(default_factory=dict)
    knowledge: Brought = ()
    guidelines: Brought = ()
    languages: Mapping[str, BroughtTable] = field(default_factory=dict)
    sensors: tuple[SensorReader, ...] = ()
    observers: Observers | None = None

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each, by `plugins/NAME`."""
        return {f"plugins/{plugin.name}": plugin.sha256 for plugin in self.loaded}

    @property
    def refused_now(self) -> tuple[tuple[str, str], ...]:
        """With the observers whose last call failed."""
        return (*self.refused, *(self.observers.refused if self.observers else ()))


NOTHING = Plugins()


def gather(names: tuple[str, ...]) -> Plugins:
    """Loads the named plugins, in this order. What is wrong with one is in `refused`; nothing is raised."""
    if not names:
        return NOTHING
    from akazuba.plugins.gathering import gathered

    return gathered(names)


def refusals(refused: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """As an assessment's provenance and page name them.

    >>> refusals([("scales", "expected …, found …")])
    ('PLUGIN REFUSED scales: expected …, found …',)
    """
    return tuple(
        f"PLUGIN REFUSED {name}: {why.removeprefix(f'plugin {name}').lstrip(',: ')}" for name, why in refused
    )
