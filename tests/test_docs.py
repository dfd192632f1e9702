"""Documentation that cannot fall behind: commands, schemas, examples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from akazuba.cli import main
from akazuba.guidelines.library import guideline_schema
from akazuba.records import json_schema

DOCS = Path(__file__).parent.parent / "docs"


def commands(group: click.Group, path: str = "akazuba") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("path", "command"), list(commands(main)))
def test_every_command_has_help_with_an_example_and_is_documented(path: str, command: click.Command) -> None:
    assert command.help
    assert f"Example: {path}" in command.help
    assert path in (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["case", "assessment", "guideline", "overlay"])
def test_the_published_schema_is_the_one_in_force(name: str) -> None:
    published = (DOCS / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    of_guidelines = name in ("guideline", "overlay")
    in_force = json.loads(json.dumps(guideline_schema(name) if of_guidelines else json_schema(name)))
    assert json.loads(published) == in_force, f"akazuba schema {name} > docs/schemas/{name}.schema.json"


def test_every_test_that_a_page_names_exists() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    known = set(re.findall(r"def (test_\w+)\(", code)) | {
        p.stem for p in Path(__file__).parent.glob("test_*.py")
    }
    for page in DOCS.glob("**/*.md"):
        named = set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")))
        assert named <= known, page


def test_both_readmes_name_the_same_commands_and_figures() -> None:
    readme, chinese = (
        (DOCS.parent / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
    )
    blocks = [text.split("```")[1::2] for text in (readme, chinese)]
    assert blocks[0] == blocks[1]
