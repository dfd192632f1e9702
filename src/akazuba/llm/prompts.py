"""The prompts, kept as data with a version each."""

from __future__ import annotations

from importlib import resources

import msgspec

from akazuba.errors import ArtefactError
from akazuba.records import Value


class Prompt(Value, frozen=True):
    """user: with `{name}` where something of the case is put in; nothing that is put in is read again."""

    task: str
    version: int
    system: str
    user: str

    def messages(self, **parts: str) -> list[dict[str, str]]:
        """What is sent to the model. A `{` in a note stays what it is."""
        pieces = self.user
        for name in parts:
            pieces = pieces.replace("{" + name + "}", f"\0{name}\0")
        filled = "".join(parts.get(piece, piece) for piece in pieces.split("\0"))
        return [{"role": "system", "content": self.system}, {"role": "user", "content": filled}]


def prompt(task: str) -> Prompt:
    """Raises ArtefactError when the file of the task is missing or broken."""
    name = f"{task}.json"
    try:
        text = (resources.files("akazuba.llm") / "prompt_texts" / name).read_bytes()
        return msgspec.json.decode(text, type=Prompt)
    except (OSError, msgspec.DecodeError) as problem:
        raise ArtefactError(f"prompt_texts/{name}", "a prompt", str(problem)) from problem
