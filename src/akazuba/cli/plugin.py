"""`akazuba plugin`: what is installed and on, a new one, and whether one's parts work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from akazuba.cli.shared import FAILED, errors_shown, show


@click.group()
def plugin() -> None:
    """Plugins: guidelines, knowledge, kinds of image, languages, sensors and observers from others.

    Example: akazuba plugin list
    """


@plugin.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """List what is installed: on (named in AKAZUBA_PLUGINS) or off, version, parts, faults.

    Whatever is off is not loaded. Guidelines and knowledge are checked when the box is opened: akazuba plugin
    check NAME.

    Example: akazuba plugin list
    """
    from akazuba.plugins.brought import gather, refusals
    from akazuba.plugins.installed import installed
    from akazuba.report import harmless, one_line
    from akazuba.settings import from_environ

    with errors_shown():
        on = from_environ().plugins
        plugins = gather(on)
    loaded = {it.name: it for it in plugins.loaded}
    here, faults = installed(), refusals(plugins.refused)
    if as_json:
        facts = [
            {
                "name": it.name,
                "package": it.package,
                "version": it.version,
                "on": it.name in on,
                "sha256": loaded[it.name].sha256 if it.name in loaded else None,
                "brings": loaded[it.name].brings if it.name in loaded else [],
            }
            for it in here
        ]
        show(harmless(json.dumps({"plugins": facts, "refused": faults})))
    else:
        for it in here:
            parts = ", ".join(loaded[it.name].brings) or "nothing" if it.name in loaded else "not loaded"
            state = "on" if it.name in on else "off"
            show(one_line(f"{it.name} {it.version} ({it.package}): {state}; {parts}"))
        if not here:
            show("no plugin is installed")
        for fault in faults:
            show(one_line(fault))
    sys.exit(FAILED if faults else 0)


@plugin.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["guideline", "image", "language", "sensor", "knowledge", "hook"]),
    default="guideline",
    show_default=True,
)
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Folder to make it in.")
def new(name: str, kind: str, into: Path) -> None:
    """Make the folder of a new plugin: package, sample content, a test that passes.

    Example: akazuba plugin new our-scales --kind sensor
    """
    from akazuba.plugins.new import KINDS, write_starter

    with errors_shown():
        folder = write_starter(name, next(known for known in KINDS if known == kind), into)
    show(f"{folder}: a SAMPLE; its tests: cd {folder} && pytest")


@plugin.command("check")
@click.argument("name")
@click.option("--observers", is_flag=True, help="Let its observers see the (invented) example cases too.")
@click.option("--json", "as_json", is_flag=True)
def check(name: str, observers: bool, as_json: bool) -> None:
    """Run a plugin's parts on the built-in example cases, beside a box without it.

    Example: akazuba plugin check example
    """
    import msgspec

    from akazuba.plugin_check import check_plugin
    from akazuba.report import harmless, one_line
    from akazuba.settings import from_environ

    with errors_shown():
        report = check_plugin(from_environ(), name, observers=observers)
    if as_json:
        show(harmless(msgspec.json.encode(report).decode()))
    else:
        brings = ", ".join(report.plugin.brings) if report.plugin else "not loaded"
        show(one_line(f"{name}: {brings or 'nothing'}"))
        for did in report.did:
            show(one_line(f"- {did}"))
        for fault in report.faults:
            show(one_line(f"FAULT {fault}"))
    sys.exit(FAILED if report.faults else 0)
