"""Places with their monthly mean sunshine, from `sites.tsv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from akazuba.errors import ArtefactError, InputError

FILE = Path(__file__).parent / "sites.tsv"


@dataclass(frozen=True)
class Site:
    """lat, lon: degrees, north and east positive. temperature_c: yearly mean of the air.

    dust_percent_a_day: of the panel's yield, lost with every day without rain.
    ghi: twelve monthly means of global horizontal irradiation in kWh/m² a day.
    """

    id: str
    name: str
    country: str
    lat: float
    lon: float
    altitude_m: float
    utc_offset_h: float
    temperature_c: float
    dust_percent_a_day: float
    ghi: tuple[float, ...]
    source: str


@cache
def sites() -> Mapping[str, Site]:
    """By id. Raises ArtefactError for an unsound row.

    >>> sites()["kigali"].country
    'RW'
    """
    try:
        lines = FILE.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise ArtefactError("sites.tsv", "a table of places", str(problem)) from problem
    return {row.id: row for row in map(_site, lines[1:])}


def _site(line: str) -> Site:
    cells = line.split("\t")
    try:
        id_, name, country, *figures, ghi, source = cells
        lat, lon, altitude, offset, temperature, dust = map(float, figures)
        months = tuple(float(cell) for cell in ghi.split())
    except ValueError as problem:
        raise ArtefactError(f"sites.tsv {cells[0]}", "a sound row", str(problem)) from problem
    if len(months) != 12 or not (-66 < lat < 66 and -180 <= lon <= 180):
        raise ArtefactError(f"sites.tsv {id_}", "12 months, a latitude between the polar circles", line)
    return Site(id_, name, country, lat, lon, altitude, offset, temperature, dust, months, source)


def site(name: str) -> Site:
    """Raises InputError for an unknown one."""
    try:
        return sites()[name]
    except KeyError:
        raise InputError("site", " or ".join(sorted(sites())), name) from None
