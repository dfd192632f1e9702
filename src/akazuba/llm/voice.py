"""The language model of this box and what it may do.

What a model may do is written in a gate, by the digest of its file: the tasks in which `benchmarks/llm.py`
found it good enough. A model that nobody evaluated may put facts in order and choose passages, which can do
no harm; it may not suggest findings, read second or lead an interview.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from akazuba.errors import ArtefactError, ModelError
from akazuba.llm.extract import Nearest, candidates
from akazuba.llm.narrative import by_model, by_rules
from akazuba.llm.second_reader import remark, second_reading
from akazuba.records import Assessment, Finding, Narrative, Value

if TYPE_CHECKING:
    from akazuba.llm.facts import Words
    from akazuba.llm.model import Model

Task = Literal["narrative", "ask", "extract", "second_reader", "lead"]
HARMLESS: frozenset[Task] = frozenset(("narrative", "ask"))
OFF = "off"
EMERGENCY = "an emergency does not wait for it"
GATE = "llm_gate.json"
"""In the package, of the models that the makers evaluated; in the box's home, of the deployer's own."""


class Passed(Value, frozen=True):
    """tasks: in which the model passed. measured: by what, when, with which figures."""

    name: str
    tasks: tuple[Task, ...]
    measured: str


@dataclass(frozen=True)
class Voice:
    """model: None where there is none, and `why` says so; both None where none is asked.

    gate: the tasks that the model may do besides; read when first asked for, because it reads the whole file.
    waiting: entered while the model writes, for whoever tells somebody that it does.
    """

    model: Model | None = None
    gate: Callable[[], frozenset[Task]] = frozenset
    why: str | None = None
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext

    def may(self, task: Task) -> bool:
        return self.model is not None and (task in HARMLESS or task in self.gate())

    def tell(self, assessment: Assessment, words: Words) -> Narrative | None:
        """The assessment in words: by the model if it can, else by rules, with the reason.

        An emergency does not wait for a model.
        """
        if self.model is None:
            return by_rules(assessment, words, self.why)
        if assessment.triage and assessment.triage.level == "red":
            return by_rules(assessment, words, EMERGENCY)
        try:
            with self.waiting():
                return by_model(assessment, words, self.model)
        except (ModelError, ArtefactError) as error:
            return by_rules(assessment, words, str(error))

    def suggested(self, note: str, findings: Sequence[Finding], nearest: Nearest) -> tuple[Finding, ...]:
        """Findings that the model sees in what nothing was understood of; none when it fails or may not."""
        if self.model is None or not self.may("extract"):
            return ()
        try:
            return candidates(note, findings, nearest, self.model)
        except ModelError:
            return ()

    def remark(self, assessment: Assessment, words: Words) -> str | None:
        """What the model, as a second reader, says of the ranking; None when it fails or may not."""
        if self.model is None or not self.may("second_reader"):
            return None
        ranked, findings = assessment.differential or (), assessment.findings or ()
        try:
            return remark(ranked, second_reading(ranked, findings, self.model), words)
        except ModelError:
            return None


SILENT = Voice()
"""No model is asked: the rules write."""


def open_voice(setting: str, mmproj: Path | None, threads: int, home: Path) -> Voice:
    """The model that a setting names: "" the embedded one, "off" none, a path, or a local server's address.

    Nothing is started before it is asked.
    """
    if setting == OFF:
        return Voice(why="it is switched off")
    try:
        if setting.startswith(("http://", "https://")):
            from akazuba.llm.remote import RemoteModel

            return Voice(RemoteModel(setting))
        from akazuba.llm.model import LocalModel, embedded

        path = Path(setting) if setting else embedded() or fetched(home)
        if path is None:
            return Voice(why="none is installed (akazuba model fetch-llm)")
        model = LocalModel(path, mmproj=mmproj, threads=threads)

        @cache
        def gate() -> frozenset[Task]:
            try:
                return permitted(model.digest, home)
            except ModelError:
                return frozenset()  # the file cannot be read: asking the model will say so

        return Voice(model, gate)
    except ModelError as error:
        return Voice(why=str(error))


def fetched(home: Path) -> Path | None:
    """The model that was fetched into the box's home, the newest if there are several."""
    files = [path for path in (home / "llm").glob("*.gguf") if not path.stem.endswith("-mmproj")]
    files.sort(key=lambda path: path.stat().st_mtime)
    return files[-1] if files else None


def permitted(digest: str, home: Path) -> frozenset[Task]:
    """The tasks that a model passed. A gate that cannot be read lets no model through."""
    for read in ((home / GATE).read_bytes, (resources.files("akazuba.llm") / GATE).read_bytes):
        try:
            gate = msgspec.json.decode(read(), type=dict[str, Passed])
        except (OSError, msgspec.DecodeError):
            continue
        if digest in gate:
            return frozenset(gate[digest].tasks)
    return frozenset()
