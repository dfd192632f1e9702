"""`akazuba site sign …` and `site key`: what a developer or a deploying organisation signs, at its place.

The keys are those of AKAZUBA_HOME, or of `--keys FILE`. On a box with a store they are the box's own: then a
user has to be allowed to, and the log says who signed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from akazuba.cli.incident import believed
from akazuba.cli.shared import errors_shown
from akazuba.cli.store_patients import AS
from akazuba.errors import InputError, UntrustedError

if TYPE_CHECKING:
    from akazuba.governance.responsibility import Document, Held, Keys, Kind, Release
    from akazuba.privacy.keys.identity import Identity

    Said = TypeVar("Said", bound=Document)

DRAFT_MOST_BYTES = 1_000_000
FILE_MOST_BYTES = 64 * 1024 * 1024

DRAFT = click.argument("draft", type=click.Path(path_type=Path))
OUT = click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")
SIGNER = click.option(
    "--keys", type=click.Path(path_type=Path), help="The signer's keys; without it, those of AKAZUBA_HOME."
)
DEVELOPER = click.option(
    "--developer",
    type=click.Path(path_type=Path),
    help="The developer's key file, where none is believed yet.",
)
DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def sign() -> None:
    """Sign a release, configuration or notice from a draft.

    Example: akazuba site sign release draft.json --model-card MODEL_CARD.md --out 1.0.release.json
    """


@sign.command()
@DRAFT
@click.option("--model-card", required=True, type=click.Path(path_type=Path))
@SIGNER
@AS
@OUT
def release(draft: Path, model_card: Path, keys: Path | None, who: str | None, out: Path | None) -> None:
    """Sign what is installed here: every model, rule and word list by its digest. DRAFT: name and bounds.

    Example: akazuba site sign release draft.json --model-card MODEL_CARD.md --out 1.0.release.json
    """
    from akazuba.box import open_box
    from akazuba.cli.store import now_s
    from akazuba.governance.drafts import release_of
    from akazuba.replay import OF_THIS_PLACE, installed_digests
    from akazuba.settings import from_environ

    with errors_shown():
        settings = from_environ()
        data = _draft(draft)
        card = digests_of([model_card], "a model card")[model_card.name]
        box = open_box(settings)
        files = installed_digests(box, settings)
        if others := sorted(files.keys() & {OF_THIS_PLACE, *box.plugins.digests}):
            raise InputError("release", "only what the developer ships", f"{others[0]} in {settings.home}")
        _signed("release", lambda: release_of(data, files, card, now_s()), keys, who, out)


@sign.command()
@DRAFT
@click.option("--release", "of", required=True, type=click.Path(path_type=Path), help="The signed release.")
@click.option("--valid-from", "begins", type=DAY, help="The first day (UTC); without it, from now.")
@click.option("--valid-until", "ends", required=True, type=DAY, help="The last day (UTC).")
@click.option(
    "--overlay", "overlays", multiple=True, type=click.Path(path_type=Path), help="Local rules; any number."
)
@click.option("--formulary", type=click.Path(path_type=Path), help="Without it, the release's own.")
@DEVELOPER
@SIGNER
@AS
@OUT
def configuration(
    draft: Path,
    of: Path,
    begins: datetime | None,
    ends: datetime,
    overlays: tuple[Path, ...],
    formulary: Path | None,
    developer: Path | None,
    keys: Path | None,
    who: str | None,
    out: Path | None,
) -> None:
    """Sign how a place runs a release: local rules, formulary, thresholds, shifts, who may do what.

    What the release does not allow is refused.

    Example: akazuba site sign configuration draft.json --release 1.0.release.json --valid-until 2027-11-30
    """
    from akazuba.cli.store import now_s
    from akazuba.governance.drafts import configuration_of

    with errors_shown():
        data, made_for = _draft(draft), _release(of, developer)
        rules = digests_of(overlays, "a file of local rules")
        medicines = digests_of([formulary], "a formulary")[formulary.name] if formulary else ""
        first = _begin_s(begins) if begins else now_s()
        span = first, _begin_s(ends) + 86_400
        _signed(
            "configuration", lambda: configuration_of(data, made_for, span, rules, medicines), keys, who, out
        )


@sign.command()
@DRAFT
@click.option("--release", "of", required=True, type=click.Path(path_type=Path), help="The signed release.")
@click.option("--act-by", required=True, type=DAY, help="The last day (UTC) by which a place shall act.")
@DEVELOPER
@SIGNER
@AS
@OUT
def notice(
    draft: Path,
    of: Path,
    act_by: datetime,
    developer: Path | None,
    keys: Path | None,
    who: str | None,
    out: Path | None,
) -> None:
    """Sign that a release has a defect: what, which rules or models it touches, and for which cases.

    Example: akazuba site sign notice draft.json --release 1.0.release.json --act-by 2026-12-15
    """
    from akazuba.cli.store import now_s
    from akazuba.governance.drafts import notice_of

    with errors_shown():
        data, about = _draft(draft), _release(of, developer).sha256
        until = _begin_s(act_by) + 86_400
        _signed("notice", lambda: notice_of(data, about, until, now_s()), keys, who, out)


@click.command("key")
@click.argument("name")
@SIGNER
@OUT
def give_key(name: str, keys: Path | None, out: Path | None) -> None:
    """Write the public key that `site sign` signs with, under NAME. The first time it makes the key.

    Hand it over on another way than what it signs, or compare the fingerprint by telephone.

    Example: akazuba site key rwanda-health-post --out deployer.key.json
    """
    from akazuba.cli.store import now_s, written
    from akazuba.governance.audit_anchors import key_file
    from akazuba.governance.checkpoint import Verifier
    from akazuba.privacy.keys.store import KeyStore

    with errors_shown():
        with closing(KeyStore(_keys_path(keys), now_s)) as kept:
            public = kept.identity().public
        written(out, key_file(Verifier(name, public)))
    click.echo(f"fingerprint {public.key_id}", err=True)


def read_document(data: bytes, kind: str, type_: type[Said], keys: Keys | None) -> Held[Said]:
    """Raises InputError for what is no such document, or is signed by somebody else."""
    from akazuba.governance.responsibility import held

    try:
        said = held(data, kind, type_, keys)
    except UntrustedError as problem:
        raise InputError(problem.item, problem.expected, problem.found) from problem
    if said.problem:
        raise InputError(kind, "a signature that holds", said.problem)
    return said


def digests_of(paths: Sequence[Path], what: str) -> dict[str, str]:
    """SHA-256 by file name, in hex. Raises InputError, for two files of one name too."""
    from akazuba.cli.store import read_file

    found = dict[str, str]()
    for path in paths:
        if path.name in found:
            raise InputError(str(path), "a name of its own", f"{path.name} twice")
        found[path.name] = sha256(read_file(path, what, FILE_MOST_BYTES)).hexdigest()
    return found


def _signed(
    kind: Kind, make: Callable[[], Document], keys: Path | None, who: str | None, out: Path | None
) -> None:
    from akazuba.cli.store import written
    from akazuba.governance.responsibility import MOST_BYTES, held, seal

    with _signer(kind, keys, who) as (identity, log):
        document = make()
        data = seal(identity, kind, document)
        held(data, kind, type(document), None)
        if len(data) > MOST_BYTES:
            raise InputError(kind, f"at most {MOST_BYTES} bytes", f"{len(data)} bytes")
        log(data)
        written(out, data)
    click.echo(f"{kind} {sha256(data).hexdigest()}, signed by {identity.public.key_id}", err=True)


@contextmanager
def _signer(
    kind: Kind, keys: Path | None, who: str | None
) -> Iterator[tuple[Identity, Callable[[bytes], object]]]:
    """The keys, and what records that they signed."""
    from akazuba.cli.store import acting, now_s, opened_store
    from akazuba.privacy.keys.store import KeyStore
    from akazuba.settings import from_environ
    from akazuba.storage.store import Entry
    from akazuba.storage.unlocking import KEY_FILE

    path = _keys_path(keys)
    if not path.exists():
        raise InputError(str(path), "the signer's keys: `akazuba site key NAME` makes them", "none")
    with closing(KeyStore(path, now_s)) as kept:
        identity = kept.identity()
    home = from_environ().home
    if path.parent.resolve() != home.resolve() or not (home / KEY_FILE).exists():
        yield identity, len
        return
    with opened_store() as store:
        by = acting(store, who, "configure")

        def log(data: bytes) -> None:
            told = {"kind": kind, "sha256": sha256(data).hexdigest()}
            store.add(Entry("signed", by, json.dumps(told).encode()))

        yield identity, log


def _keys_path(given: Path | None) -> Path:
    from akazuba.governance.audit_anchors import KEYS
    from akazuba.settings import from_environ

    return given or from_environ().home / KEYS


def _release(path: Path, developer: Path | None) -> Held[Release]:
    from akazuba.cli.store import read_file
    from akazuba.governance.audit_anchors import KEY_MOST_BYTES, read_key
    from akazuba.governance.responsibility import MOST_BYTES, Release, believing
    from akazuba.settings import from_environ

    keys = believed(from_environ().home).developer
    if developer is not None:
        key = read_key(read_file(developer, "a key file", KEY_MOST_BYTES), str(developer))
        keys = believing(key.public)
    if keys is None:
        raise InputError("--developer", "the key file of whoever signed the release", "none")
    return read_document(read_file(path, "a signed release", MOST_BYTES), "release", Release, keys)


def _draft(path: Path) -> bytes:
    from akazuba.cli.store import read_file

    return read_file(path, "a draft", DRAFT_MOST_BYTES)


def _begin_s(day: datetime) -> int:
    return int(day.replace(tzinfo=UTC).timestamp())
