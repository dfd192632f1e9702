"""Which plugins are installed, read from the packages' entry points without importing any."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from akazuba.errors import ArtefactError

GROUP = "akazuba"


@dataclass(frozen=True)
class Installed:
    """A plugin's entry point. version: of the package that brings it."""

    name: str
    package: str
    version: str
    entry: importlib.metadata.EntryPoint

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """Where its code and data lie; of a single module, its file. Raises ArtefactError when nowhere."""
        try:
            spec = importlib.util.find_spec(self.entry.module.partition(".")[0])
        except (ImportError, ValueError) as problem:
            raise ArtefactError(f"plugin {self.name}", "a package", str(problem)) from problem
        if spec is None or (spec.submodule_search_locations is None and not spec.origin):
            raise ArtefactError(f"plugin {self.name}", f"the package {self.entry.module}", "none")
        places = spec.submodule_search_locations or [str(spec.origin)]
        return tuple(Path(place).resolve() for place in places)

    def digest(self) -> str:
        """SHA-256 in hex over names and contents of its files, in the order of the names."""
        total = hashlib.sha256()
        for folder in self.folders:
            for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
                if path.is_file() and "__pycache__" not in path.parts:
                    content = hashlib.sha256(path.read_bytes()).digest()
                    total.update(path.relative_to(folder.parent).as_posix().encode() + b"\0" + content)
        return total.hexdigest()

    def holds(self, path: Path) -> bool:
        """Whether a path lies in its folders, and so under its digest."""
        return any(path.resolve().is_relative_to(folder) for folder in self.folders)


def installed() -> tuple[Installed, ...]:
    """All, by name."""
    found = [
        Installed(
            entry.name,
            entry.dist.name if entry.dist else "unknown",
            entry.dist.version if entry.dist else "unknown",
            entry,
        )
        for entry in importlib.metadata.entry_points(group=GROUP)
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def the_one(name: str, among: tuple[Installed, ...]) -> Installed:
    """Raises ArtefactError for a name that no or several packages bring."""
    if Counter(plugin.name for plugin in among)[name] == 1:
        return next(plugin for plugin in among if plugin.name == name)
    packages = [plugin.package for plugin in among if plugin.name == name]
    raise ArtefactError(
        f"plugin {name}", "one installed package that brings it", ", ".join(packages) or "none"
    )
