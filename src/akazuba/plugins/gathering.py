"""Loads the plugins that the deployer named and checks what they hand over, part by part.

A part that is broken or clashes is left out and named; the plugin's other parts and all other plugins stay.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from akazuba.errors import AkazubaError, ArtefactError
from akazuba.plugins import hookspecs
from akazuba.plugins.brought import Plugin, Plugins
from akazuba.plugins.guard import IMAGE_S, LOAD_S, OBSERVER_S, SENSOR_S, Guard, bounded
from akazuba.plugins.installed import Installed, installed, the_one
from akazuba.plugins.observers import Observers
from akazuba.plugins.parts import API, VITAL_UNITS, ImageKind, LanguageTable, Sensor
from akazuba.plugins.reading import ImageReader, SensorReader
from akazuba.wording.catalogue import BroughtTable, Language, languages, read_table

_NAME = re.compile(r"[a-z][a-z0-9-]{0,58}")
_CODE = re.compile(r"[a-z]{2,3}")


def gathered(names: Sequence[str]) -> Plugins:
    """As `brought.gather`."""
    here, gathering = installed(), _Gathering()
    for name in dict.fromkeys(names):
        try:
            gathering.load(the_one(name, here))
        except AkazubaError as problem:
            gathering.refused.append((name, str(problem)))
        except OSError as problem:  # its files cannot be read for the digest
            gathering.refused.append((name, f"expected files that can be read, found {problem.strerror}"))
    return gathering.all()


def tried(name: str, module: str) -> Plugins:
    """A plugin that is not installed, by the name of its module: for its own tests."""
    gathering = _Gathering()
    entry = importlib.metadata.EntryPoint(name, module, hookspecs.GROUP)
    try:
        gathering.load(Installed(name, "not installed", "0", entry))
    except AkazubaError as problem:
        gathering.refused.append((name, str(problem)))
    return gathering.all()


class _Gathering:
    """What was found so far; later plugins are held against it."""

    def __init__(self) -> None:
        self.loaded: list[Plugin] = []
        self.refused: list[tuple[str, str]] = []
        self._readers: dict[str, ImageReader] = {}
        self._knowledge: list[tuple[str, Path]] = []
        self._guidelines: list[tuple[str, Path]] = []
        self._languages: dict[str, BroughtTable] = {}
        self._sensors: list[SensorReader] = []
        self._observers: list[Guard[object]] = []

    def all(self) -> Plugins:
        return Plugins(
            tuple(self.loaded),
            tuple(self.refused),
            self._readers,
            tuple(self._knowledge),
            tuple(self._guidelines),
            self._languages,
            tuple(self._sensors),
            Observers(self._observers),
        )

    def load(self, plugin: Installed) -> None:
        """Raises ArtefactError when nothing of it can be used, OutOfTimeError for one that does not load."""
        sha256 = plugin.digest()
        manager = bounded(plugin.name, "an import", LOAD_S, lambda: _registered(plugin))
        adders: Mapping[str, Callable[[Installed, Any], str]] = {
            "image_kinds": self._image_kind,
            "knowledge_sources": self._knowledge_source,
            "guideline_folders": self._guideline_folder,
            "languages": self._language,
            "sensors": self._sensor,
            "hooks": self._hook,
        }
        brings: list[str] = []
        for hook, add in adders.items():
            try:
                parts = bounded(plugin.name, f"{hook}()", LOAD_S, partial(_asked, manager, hook))
            except AkazubaError as problem:
                self.refused.append((plugin.name, str(problem)))
                continue
            for part in parts:
                try:
                    brings.append(add(plugin, part))
                except AkazubaError as problem:
                    self.refused.append((plugin.name, str(problem)))
        self.loaded.append(Plugin(plugin.name, plugin.version, sha256, tuple(brings)))

    def _image_kind(self, plugin: Installed, part: object) -> str:
        kind = _expected(plugin, "image_kinds()", part, ImageKind)
        item = f"plugin {plugin.name}, image kind {_shown(kind.name)}"
        _refuse_unless(_named(kind.name, _NAME), item, "a name in lower case, digits and hyphens", kind.name)
        _refuse_unless(callable(kind.read), item, "a function that reads", kind.read)
        sound = isinstance(kind.conditions, tuple) and all(isinstance(id_, str) for id_ in kind.conditions)
        _refuse_unless(sound, item, "a tuple of condition ids", kind.conditions)
        if kind.name in self._readers:
            raise ArtefactError(item, "a kind of its own", f"one of plugin {self._readers[kind.name].plugin}")
        model = f"plugin {plugin.name} {plugin.version} {kind.name}"
        guard = Guard(plugin.name, f"an answer for {kind.name}", IMAGE_S, kind.read)
        self._readers[kind.name] = ImageReader(plugin.name, model, kind, guard)
        return f"image {kind.name}"

    def _knowledge_source(self, plugin: Installed, part: object) -> str:
        folder = _folder(plugin, "knowledge_sources()", part)
        self._knowledge.append((plugin.name, folder))
        return f"knowledge {folder.name}"

    def _guideline_folder(self, plugin: Installed, part: object) -> str:
        folder = _folder(plugin, "guideline_folders()", part)
        self._guidelines.append((plugin.name, folder))
        return f"guideline {folder.name}"

    def _language(self, plugin: Installed, part: object) -> str:
        given = _expected(plugin, "languages()", part, LanguageTable)
        item = f"plugin {plugin.name}, language {_shown(given.code)}"
        _refuse_unless(_named(given.code, _CODE), item, "an ISO 639 code", given.code)
        _refuse_unless(_is_language(given.language), item, "a Language", given.language)
        _refuse_unless(isinstance(given.table, Path), item, "the path of its table", given.table)
        if given.code in languages(self._languages):
            raise ArtefactError(item, "a language that the box has not", given.code)
        _refuse_outside(plugin, item, given.table)
        table = read_table(given.table, item)
        self._languages[given.code] = BroughtTable(plugin.name, given.language, table)
        return f"language {given.code}"

    def _sensor(self, plugin: Installed, part: object) -> str:
        sensor = _expected(plugin, "sensors()", part, Sensor)
        item = f"plugin {plugin.name}, sensor {_shown(sensor.name)}"
        _refuse_unless(_named(sensor.name, _NAME), item, "a name in lower case", sensor.name)
        sign = isinstance(sensor.vital, str) and sensor.vital in VITAL_UNITS
        _refuse_unless(sign, item, "one of " + ", ".join(VITAL_UNITS), sensor.vital)
        unit = VITAL_UNITS[sensor.vital]
        _refuse_unless(sensor.unit == unit, item, f"{sensor.vital} in {unit}", sensor.unit)
        _refuse_unless(callable(sensor.read), item, "a function that reads", sensor.read)
        _refuse_unless(isinstance(sensor.simulated, bool), item, "simulated: yes or no", sensor.simulated)
        if others := [other.plugin for other in self._sensors if other.sensor.name == sensor.name]:
            raise ArtefactError(item, "a name of its own", f"one of plugin {others[0]}")
        guard = Guard(plugin.name, f"a reading of {sensor.name}", SENSOR_S, sensor.read)
        self._sensors.append(SensorReader(plugin.name, sensor, guard))
        return f"sensor {sensor.name}{' (SIMULATED)' if sensor.simulated else ''}"

    def _hook(self, plugin: Installed, part: object) -> str:
        if not callable(part):
            raise ArtefactError(f"plugin {plugin.name}, hooks()", "functions", type(part).__name__)
        number = sum(guard.plugin == plugin.name for guard in self._observers) + 1
        self._observers.append(Guard(plugin.name, f"an end of observer {number}", OBSERVER_S, part))
        return f"observer {number}"


def _registered(plugin: Installed) -> pluggy.PluginManager:
    """A manager of its own, so that an error stops at its plugin. Raises whatever the import raises."""
    module: ModuleType = plugin.entry.load()
    version = getattr(module, "AKAZUBA_API", None)
    if type(version) is not int or version != API:
        raise ArtefactError(f"plugin {plugin.name}", f"AKAZUBA_API = {API}", _shown(version))
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module, plugin.name)
    manager.check_pending()
    return manager


def _asked(manager: pluggy.PluginManager, hook: str) -> tuple[object, ...]:
    """What one hook function returns; nothing when there is none."""
    answers = getattr(manager.hook, hook)()
    if not answers:
        return ()
    if not isinstance(answers[0], list | tuple):
        raise ArtefactError(f"{hook}()", "a list", type(answers[0]).__name__)
    return tuple(answers[0])


def _expected(plugin: Installed, hook: str, part: object, kind: type[Any]) -> Any:
    if not isinstance(part, kind):
        raise ArtefactError(f"plugin {plugin.name}, {hook}", f"values of {kind.__name__}", _shown(part))
    return part


def _folder(plugin: Installed, hook: str, part: object) -> Path:
    path: Path = _expected(plugin, hook, part, Path)
    item = f"plugin {plugin.name}, {hook}"
    _refuse_outside(plugin, item, path)
    if not path.is_dir():
        raise ArtefactError(item, "a folder", f"none at {path}")
    return path.resolve()


def _refuse_outside(plugin: Installed, item: str, path: Path) -> None:
    """What lies outside its package is under no digest."""
    if not plugin.holds(path):
        raise ArtefactError(item, "a path inside the plugin's package", str(path))


def _is_language(given: object) -> bool:
    return isinstance(given, Language) and all(
        isinstance(text, str) and len(text) <= 200
        for text in (given.name, given.review, given.colon, given.between, given.after, given.blank)
    )


def _named(name: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name) is not None


def _refuse_unless(sound: bool, item: str, expected: str, found: object) -> None:
    if not sound:
        raise ArtefactError(item, expected, _shown(found))


def _shown(value: object) -> str:
    """Short, and without calling the plugin's own `__repr__`."""
    if isinstance(value, str | int | float | type(None)):
        return repr(value)[:80] if not isinstance(value, str) else value[:80] or "nothing"
    return type(value).__name__
