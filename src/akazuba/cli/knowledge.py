"""`akazuba knowledge …`: what the box knows."""

from __future__ import annotations

import click

from akazuba.cli.shared import errors_shown, show


@click.group()
def knowledge() -> None:
    """Build what the box knows.

    Example: akazuba knowledge build
    """


@knowledge.command("build")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def knowledge_build(quiet: bool) -> None:
    """Compile the terminology (HPO and our own terms) into the data folder, once, and check the knowledge.

    Example: akazuba knowledge build
    """
    from akazuba.knowledge.conditions import open_knowledge, origin
    from akazuba.knowledge.store import open_store
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    with errors_shown():
        home = from_environ().home
        terminology, table = open_terminology(home), open_knowledge().table
        store = open_store(home, terminology)
    if not quiet:
        show(f"terms: {terminology.version} in {home}")
        show(f"rare diseases: {len(store.disease_ids)}")
        show(f"knowledge: {origin(table)}")
