"""The page on security says what the code does, and the code holds nothing that it forbids."""

from __future__ import annotations

import re
from pathlib import Path

from akazuba.governance.roles import (
    ACTIONS,
    BEHIND_GLASS,
    LIMITS,
    MAY,
    ROLES,
)

TESTS = Path(__file__).parent
SECURITY = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_the_security_page_names_exists() -> None:
    there = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", SECURITY))
    assert len(named) > 40
    assert not {name for name in named if f"def {name}(" not in there}


def test_every_file_that_the_security_page_names_exists() -> None:
    root = TESTS.parent / "src" / "akazuba"
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.[a-z]+)`", SECURITY))
    assert not {name for name in named if not (root / name).exists() and not (TESTS.parent / name).exists()}


def test_the_sources_hold_no_shell_no_eval_and_no_pickle() -> None:
    found = [
        f"{path.name}: {match.group()}"
        for path in (TESTS.parent / "src").rglob("*.py")
        for match in re.finditer(
            r"shell=True|os\.system\(|(?<![\w.])eval\(|(?<![\w.])exec\(|\bpickle\.|\bmarshal\.|yaml\.load",
            path.read_text(encoding="utf-8"),
        )
    ]
    assert found == []


def test_the_sources_hold_no_broken_hash_and_no_weak_mode() -> None:
    weak = re.compile(r"hashlib\.(md5|sha1)|modes\.ECB|PKCS1v15|\bMD5\(|\bSHA1\(")
    for path in (TESTS.parent / "src").rglob("*.py"):
        assert not weak.search(path.read_text(encoding="utf-8")), path


def test_every_requirement_on_the_security_page_has_a_status_and_what_is_met_names_its_test() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SECURITY.splitlines()
        if re.match(r"\| \d+\.\d+\.\d+ ", line)
    ]
    assert len(rows) == len({row[0] for row in rows}) > 80
    for number, _, status, where in rows:
        assert status in ("met", "partly", "not met", "not yet"), number
        assert status != "met" or "`test_" in where, number
        assert where, number


def test_the_tables_of_the_security_page_are_those_of_the_code() -> None:
    for action, what in ACTIONS.items():
        marks = " | ".join(
            "yes" if action in MAY[role] else "glass" if action in BEHIND_GLASS[role] else ""
            for role in ROLES
        )
        assert f"| {action}: {what} | {marks} |".replace("  ", " ") in SECURITY.replace("  ", " ")
    for role, limits in LIMITS.items():
        row = (
            f"| {role} | {limits.idle_s / 60:.0f} min | {limits.whole_s / 3600:.0f} h | {limits.pin_least} |"
        )
        assert row in SECURITY
