"""`akazuba knowledge …`: what the box knows, looked up, counted, exported and renewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.errors import InputError

if TYPE_CHECKING:
    from akazuba.knowledge.conditions import CommonKnowledge
    from akazuba.knowledge.graph import Edge
    from akazuba.knowledge.store import Store
    from akazuba.knowledge.update import Change

SHOWN = 20
"""Edges of one relation that are shown unless --all is given."""


@click.group()
def knowledge() -> None:
    """Build, look up and renew what the box knows.

    Example: akazuba knowledge build
    """


def _opened() -> tuple[CommonKnowledge, Store]:
    from akazuba.knowledge.conditions import open_knowledge
    from akazuba.knowledge.store import open_store
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    home = from_environ().home
    common = open_knowledge()
    with open_terminology(home) as terminology:
        return common, open_store(home, terminology, common)


@knowledge.command("build")
@click.option("--quiet", is_flag=True, help="Print nothing.")
def build(quiet: bool) -> None:
    """Compile terminology (HPO and our own terms) and knowledge into the data folder, once, and check them.

    Example: akazuba knowledge build
    """
    from akazuba.knowledge.conditions import origin

    with errors_shown():
        common, store = _opened()
    if not quiet:
        show(f"knowledge: {origin(common.table)}")
        show(f"rare diseases: {len(store.disease_ids)}")
        show(f"version: {store.version}")


@knowledge.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="All edges as one JSON object.")
@click.option("--all", "everything", is_flag=True, help=f"All edges, not only {SHOWN} of each relation.")
def show_node(name: str, as_json: bool, everything: bool) -> None:
    """Show what a disease, finding, test, drug or guideline is joined to, each edge with its source.

    Example: akazuba knowledge show "severe malaria"
    """
    from akazuba.knowledge.graph import Graph

    with errors_shown():
        graph = Graph(_opened()[1])
        node = graph.find(name)
        edges = graph.edges_of(node)
    if as_json:
        facts = [_as_dict(edge) for edge in edges]
        show(json.dumps({"id": node.id, "kind": node.kind, "name": node.name, "edges": facts}))
        return
    show(f"{node.name}  [{node.id}, {node.kind}]  not reviewed by a clinician")
    for outward in (True, False):
        relations = dict.fromkeys(edge.relation for edge in edges if (edge.head == node) is outward)
        for relation in relations:
            found = [e for e in edges if e.relation == relation and (e.head == node) is outward]
            show(f"  {relation if outward else f'reached by: {relation}'} ({len(found)})")
            for edge in found if everything else found[:SHOWN]:
                show(f"    {_as_line(edge, edge.tail.name if outward else edge.head.name)}")
            if not everything and len(found) > SHOWN:
                show(f"    … {len(found) - SHOWN} more (--all)")


@knowledge.command("path")
@click.argument("start")
@click.argument("end")
@click.option("--json", "as_json", is_flag=True, help="The edges as a JSON list.")
def path(start: str, end: str, as_json: bool) -> None:
    """Show how two things hang together: a shortest chain of edges, each with its source.

    Example: akazuba knowledge path "severe malaria" artesunate
    """
    from akazuba.knowledge.graph import MOST_STEPS, Graph

    with errors_shown():
        graph = Graph(_opened()[1])
        first, last = graph.find(start), graph.find(end)
        chain = graph.path(first, last)
        if not chain and first != last:
            item = f"{start!r} and {end!r}"
            raise InputError(item, f"a chain of at most {MOST_STEPS} edges", "none")
    if as_json:
        show(json.dumps([_as_dict(edge) for edge in chain]))
        return
    for edge in chain:
        show(f"{edge.head.name} -> {_as_line(edge, f'{edge.relation}: {edge.tail.name}')}")


@knowledge.command("coverage")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with what is missing.")
def coverage(as_json: bool) -> None:
    """Count what the knowledge names of each named list, and apart from that how deeply.

    Example: akazuba knowledge coverage
    """
    from akazuba.knowledge import coverage as lists

    with errors_shown():
        common, store = _opened()
        found, depth = lists.coverage(store, common), lists.depth(common)
    if as_json:
        facts = [
            {"list": c.list, "source": c.source, "size": c.size, "named": c.named, "missing": c.missing}
            for c in found
        ]
        show(json.dumps({"lists": facts, "depth": depth}))
        return
    show("Named (a name alone is no knowledge):")
    for item in found:
        show(f"  {item.share:6.1%}  {item.named} of {item.size}  {item.list}  [{item.source}]")
    show("Depth of the conditions of primary care:")
    for what, count in depth.items():
        show(f"  {count:5}  {what}")


@knowledge.command("export")
@click.option("--format", "form", type=click.Choice(["ttl", "fhir"]), required=True)
def export(form: str) -> None:
    """Print the knowledge for other systems: the whole graph as Turtle, or the conditions as FHIR R4
    (CodeSystem and ConceptMap to ICD-10 and ICD-11).

    Example: akazuba knowledge export --format fhir > conditions.json
    """
    from akazuba.knowledge.export import fhir, turtle

    with errors_shown():
        common, store = _opened()
    if form == "fhir":
        show(json.dumps(fhir(common), ensure_ascii=False))
        return
    for line in turtle(store):
        show(line)


@knowledge.command("update")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="What changed as one JSON object.")
def update(files: tuple[Path, ...], as_json: bool) -> None:
    """Take newer sources: hp.obo, phenotype.hpoa, Mondo (OBO or JSON), Orphanet's en_product4.xml.

    The knowledge is built from them and what changed is printed; a file that cannot be used changes nothing.

    Example: akazuba knowledge update hp.obo phenotype.hpoa
    """
    from akazuba.knowledge.conditions import open_knowledge
    from akazuba.knowledge.update import update as renew
    from akazuba.settings import from_environ

    with errors_shown():
        changes = renew(from_environ().home, files, open_knowledge())
    if as_json:
        names = ("before", "after", "added", "removed", "renamed")
        show(json.dumps({c.what: {name: getattr(c, name) for name in names} for c in changes}))
        return
    for change in changes:
        show(_report(change))


def _report(change: Change) -> str:
    from akazuba.knowledge.update import EXAMPLES

    lines = [f"{change.what}: {change.before} -> {change.after}"]
    for name, items in (("new", change.added), ("gone", change.removed), ("changed", change.renamed)):
        if items:
            more = f" … {len(items) - EXAMPLES} more (--json)" if len(items) > EXAMPLES else ""
            lines.append(f"  {name} {len(items)}: {'; '.join(items[:EXAMPLES])}{more}")
    return "\n".join(lines)


def _as_line(edge: Edge, what: str) -> str:
    share = f"  {edge.share:.0%}" if edge.share is not None else ""
    return f"{what}{share}  [{edge.source}]"


def _as_dict(edge: Edge) -> dict[str, object]:
    head, tail = ({"id": n.id, "kind": n.kind, "name": n.name} for n in (edge.head, edge.tail))
    return {"head": head, "relation": edge.relation, "tail": tail, "share": edge.share, "source": edge.source}
