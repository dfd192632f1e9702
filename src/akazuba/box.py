"""What one consultation needs, opened once and then reused.

An engine that cannot be opened, or a plugin that does not fit, costs what it would have added and never the
box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from akazuba import __version__
from akazuba.diagnosis import profiles
from akazuba.diagnosis.engine import Engine, open_engine
from akazuba.diagnosis.evidence import Columns, columns_of
from akazuba.diagnosis.shared_model import FILE, SharedModel, read_shared
from akazuba.errors import ArtefactError
from akazuba.guidelines.triage import editions
from akazuba.intake.cases import CaseLine
from akazuba.intake.quality import LIMITS
from akazuba.knowledge.conditions import open_knowledge, origin
from akazuba.plugins.brought import Plugins, refusals
from akazuba.records import KnowledgeTable, Provenance
from akazuba.settings import Settings
from akazuba.urgency import Decided, Desk, open_desk

if TYPE_CHECKING:  # a box without plugins loads none of it
    from akazuba.plugins.reading import ImageReader


@dataclass(frozen=True)
class Box:
    """What one consultation needs. engine: why there is none, when its files cannot be trusted.

    readers: of plugins, by the kind of image that each reads. refused: (plugin, why) of what plugins bring
    and the box does not take. home: the data folder, where the programme's model is once it is adopted.
    """

    desk: Desk
    columns: Columns
    software: str
    engine: Engine | ArtefactError
    readers: Mapping[str, ImageReader] = field(default_factory=dict)
    refused: tuple[tuple[str, str], ...] = ()
    home: Path | None = None

    @property
    def plugins(self) -> Plugins:
        return self.desk.plugins

    def shared(self) -> SharedModel | ArtefactError | None:
        """The programme's model as it is now; why there is none, when its file cannot be trusted."""
        try:
            return read_shared(self.home / FILE) if self.home else None
        except ArtefactError as error:
            return error

    def provenance(
        self, line: CaseLine, decided: Decided, shared: SharedModel | ArtefactError | None
    ) -> Provenance:
        """On what an assessment stands that is made now, and what is not in use for it."""
        engine = self.engine.digests if isinstance(self.engine, Engine) else {}
        refused = refusals((*self.refused, *self.plugins.refused_now, *decided.refused))
        if isinstance(shared, ArtefactError):
            refused = (*refused, f"SHARED MODEL REFUSED {shared}")
        learned = {shared.name: shared.id} if isinstance(shared, SharedModel) else {}
        protocols = self.desk.library.editions(decided.care.protocols)
        return Provenance(
            input_sha256=line.input_sha256,
            models={**engine, **self.plugins.digests, **learned},
            knowledge=f"{origin(self.columns.table)}; {self.desk.terminology.version}",
            guidelines=(*editions(), *protocols, *refused),
            software=self.software,
            not_read=line.ignored,
        )


def open_box(settings: Settings) -> Box:
    """Opens everything that a consultation needs; slow once (a fraction of a second), then reused.

    Raises ArtefactError when the terminology, the knowledge or a guideline cannot be opened, InputError for a
    local overlay that cannot be used.
    """
    desk = open_desk(settings)
    knowledge = open_knowledge(desk.plugins.knowledge, desk.terminology.ancestors)
    columns, refused = columns_of(knowledge.table, desk.terminology.ancestors), knowledge.refused
    del knowledge  # its rows are not held beside the engine
    software = f"akazuba {__version__}"
    engine = _engine(settings, columns.table)
    readers, unfit = _readers(desk.plugins, engine, columns.table)
    refused = (*desk.library.refused_of_plugins, *refused, *unfit)
    return Box(desk, columns, software, engine, readers, refused, settings.home)


def _readers(
    plugins: Plugins, engine: Engine | ArtefactError, knowledge: KnowledgeTable
) -> tuple[dict[str, ImageReader], list[tuple[str, str]]]:
    """The plugins' image readers that may be used, and why the others may not."""
    own = {*LIMITS, *(engine.kinds if isinstance(engine, Engine) else ())}
    known = {condition.id for condition in knowledge.conditions}
    fit: dict[str, ImageReader] = {}
    unfit: list[tuple[str, str]] = []
    for name, reader in plugins.readers.items():
        if name in own:
            unfit.append(
                (reader.plugin, f"image kind {name}: expected a kind of its own, found one of the box")
            )
        elif unknown := sorted({*reader.kind.conditions} - known):
            expected = f"conditions of knowledge {knowledge.version}"
            unfit.append((reader.plugin, f"image kind {name}: expected {expected}, found {unknown[0]}"))
        else:
            fit[name] = reader
    return fit, unfit


def _engine(settings: Settings, knowledge: KnowledgeTable) -> Engine | ArtefactError:
    """The engine is the one step that a consultation can do without: a fault costs it and nothing else."""
    try:
        folder = profiles.chosen(settings.engine, settings.home, settings.threads)
        engine = open_engine(settings.threads, folder)
    except ArtefactError as error:
        return error
    known = {condition.id for condition in knowledge.conditions}
    if unknown := sorted(engine.conditions - known):
        return ArtefactError(engine.version, f"conditions of knowledge {knowledge.version}", unknown[0])
    return engine
