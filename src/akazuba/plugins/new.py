"""Writes the folder of a new plugin: package, sample content, a test that passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

from akazuba.errors import InputError, why_not_opened
from akazuba.plugins.parts import API

STARTERS = Path(__file__).parent / "starters"
Kind = Literal["guideline", "image", "language", "sensor", "knowledge", "hook"]
KINDS = get_args(Kind)


def write_starter(name: str, kind: Kind, into: Path) -> Path:
    """The new folder, `into`/`name`. Raises InputError for a name that is none, or a folder that is there."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 50:
        raise InputError("plugin name", "words in lower case with hyphens between, such as our-scales", name)
    folder = into / name
    words = {"@NAME@": name, "@MODULE@": name.replace("-", "_"), "@KIND@": kind, "@API@": str(API)}
    try:
        folder.mkdir(parents=True)
        for starter in (STARTERS / "common", STARTERS / kind):
            for path in sorted(starter.rglob("*.in")):
                target = folder / _filled(path.relative_to(starter).with_suffix("").as_posix(), words)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_filled(path.read_text(encoding="utf-8"), words), encoding="utf-8")
    except FileExistsError as problem:
        raise InputError(str(folder), "no folder of that name yet", "one") from problem
    except OSError as problem:
        raise InputError(str(folder), "a place to write", why_not_opened(problem)) from problem
    return folder


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
