"""What differs from site to site, read once at start-up and passed down."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of one box.

    home: folder for what the box builds or stores (`AKAZUBA_HOME`, else the XDG data folder).
    threads: processor threads that the models may use (`AKAZUBA_THREADS`, default 2).
    engine: size of the image engine, full, student or tiny, or the path of a folder (`AKAZUBA_ENGINE`);
    "" (the default) lets the box measure at its first start which one it can carry.
    overlays: files of local rules that change guidelines (`AKAZUBA_OVERLAYS`, with `:` between them).
    llm: the language model (`AKAZUBA_LLM`): path of a GGUF file, address of an OpenAI-compatible server of
    the local network, or off; "" (the default) is the one that came with the installation. llm_mmproj:
    projector of a vision model (`AKAZUBA_LLM_MMPROJ`).
    plugins: names of the plugins that are on (`AKAZUBA_PLUGINS`, with `:` between them); none by default.
    """

    home: Path
    threads: int = 2
    engine: str = ""
    overlays: tuple[Path, ...] = ()
    llm: str = ""
    llm_mmproj: Path | None = None
    plugins: tuple[str, ...] = ()


def from_environ(environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings from environment variables.

    >>> from_environ({"AKAZUBA_HOME": "/srv/akazuba"}).home
    PosixPath('/srv/akazuba')
    """
    if home := environ.get("AKAZUBA_HOME"):
        folder = Path(home)
    else:
        data = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        folder = Path(data) / "akazuba"
    return Settings(
        home=folder,
        threads=_threads(environ.get("AKAZUBA_THREADS", "2")),
        engine=_engine(environ.get("AKAZUBA_ENGINE", "")),
        overlays=tuple(Path(name) for name in environ.get("AKAZUBA_OVERLAYS", "").split(":") if name),
        llm=environ.get("AKAZUBA_LLM", ""),
        llm_mmproj=Path(projector) if (projector := environ.get("AKAZUBA_LLM_MMPROJ")) else None,
        plugins=tuple(name for name in environ.get("AKAZUBA_PLUGINS", "").split(":") if name),
    )


def _threads(text: str) -> int:
    from akazuba.errors import InputError

    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= 64:
        raise InputError("AKAZUBA_THREADS", "a whole number from 1 to 64", repr(text))
    return int(text)


def _engine(text: str) -> str:
    from akazuba.errors import InputError

    if text in ("", "full", "student", "tiny") or "/" in text:
        return text
    expected = "full, student, tiny, or the path of a folder (with a /)"
    raise InputError("AKAZUBA_ENGINE", expected, repr(text))
