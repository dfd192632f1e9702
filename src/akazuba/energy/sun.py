"""Where the sun stands, what a clear sky gives, what a panel makes of it. The only place that knows pvlib.

With pvlib (extra [energy]) the clear sky is Ineichen and Perez's with its turbidity climatology; without it
Haurwitz's formula of the zenith angle alone.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from akazuba.energy.kit import STEP_MIN, STEPS_A_DAY
from akazuba.energy.sites import Site

Floats = npt.NDArray[np.float64]

SOLAR_CONSTANT = 1361.0
"""W/m², mean over the year (Kopp and Lean 2011)."""
ALBEDO = 0.2
NOCT_C = 45.0
GAMMA = -0.0037
"""Of a crystalline panel's power per kelvin above 25 °C (PVWatts, Dobos 2014: -0.0047 to -0.002)."""
TILT = 12.0
"""Degrees, towards the equator: enough for rain to wash the panel."""
LEAST_COS = 0.065
"""Below this elevation the sky's share is not told apart any more (the limit that pvlib's erbs uses)."""


@dataclass(frozen=True)
class Sky:
    """A year from 1 January 00:00 local time in steps of 5 minutes, each value of the middle of its step.

    cos_zenith, cos_incidence: on the ground and on the panel, 0 below the horizon. extra: outside the
    atmosphere, horizontal, W/m². ghi: global horizontal of a clear sky, W/m². model: which sky.
    """

    cos_zenith: Floats
    cos_incidence: Floats
    extra: Floats
    ghi: Floats
    model: str


def steps_in(year: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return (366 if leap else 365) * STEPS_A_DAY


def has_pvlib() -> bool:
    return importlib.util.find_spec("pvlib") is not None


@lru_cache(maxsize=32)
def clear_year(site: Site, year: int, tilt: float = TILT, *, use_pvlib: bool | None = None) -> Sky:
    """use_pvlib: None for where it is installed."""
    cos_zenith, cos_incidence, extra = _geometry(site, year, tilt)
    if has_pvlib() if use_pvlib is None else use_pvlib:
        return Sky(
            cos_zenith, cos_incidence, extra, _ineichen(site, year, cos_zenith), "Ineichen-Perez (pvlib)"
        )
    return Sky(cos_zenith, cos_incidence, extra, haurwitz(cos_zenith), "Haurwitz 1945")


def haurwitz(cos_zenith: Floats) -> Floats:
    """Global horizontal irradiance of a clear sky in W/m²: 1098 cos z exp(-0.059/cos z).

    B. Haurwitz, Insolation in relation to cloudiness and cloud density, J. Meteorology 2 (1945), with the
    constants that Reno, Hansen and Stein give (SAND2012-2389); source: unverified.

    >>> round(float(haurwitz(np.array([1.0]))[0]))
    1035
    """
    up = np.maximum(cos_zenith, 1e-3)
    return np.where(cos_zenith > 1e-3, 1098.0 * up * np.exp(-0.059 / up), 0.0)


def _geometry(site: Site, year: int, tilt: float) -> tuple[Floats, Floats, Floats]:
    """Declination, equation of time and distance by Spencer's series (1971), good to about 0.1 degree."""
    n = steps_in(year)
    step = np.arange(n)
    hour = ((step % STEPS_A_DAY) + 0.5) * STEP_MIN / 60
    angle = 2 * np.pi * ((step + 0.5) / STEPS_A_DAY) / (n / STEPS_A_DAY)
    cos, sin = np.cos(angle), np.sin(angle)
    cos2, sin2 = np.cos(2 * angle), np.sin(2 * angle)
    declination = (
        0.006918 - 0.399912 * cos + 0.070257 * sin - 0.006758 * cos2 + 0.000907 * sin2
        - 0.002697 * np.cos(3 * angle) + 0.00148 * np.sin(3 * angle)
    )  # fmt: skip
    equation_min = 229.18 * (0.000075 + 0.001868 * cos - 0.032077 * sin - 0.014615 * cos2 - 0.04089 * sin2)
    distance = 1.00011 + 0.034221 * cos + 0.00128 * sin + 0.000719 * cos2 + 0.000077 * sin2
    solar_hour = hour + equation_min / 60 + site.lon / 15 - site.utc_offset_h
    turn = np.radians(15 * (solar_hour - 12))
    lat = np.radians(site.lat)

    def cos_of(latitude: float) -> Floats:
        height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(
            turn
        )
        return np.asarray(np.maximum(height, 0.0))

    cos_zenith = cos_of(float(lat))
    towards_equator = np.radians(tilt) * (1 if site.lat >= 0 else -1)
    cos_incidence = np.where(cos_zenith > 0, cos_of(float(lat - towards_equator)), 0.0)
    return cos_zenith, cos_incidence, SOLAR_CONSTANT * distance * cos_zenith


def _ineichen(site: Site, year: int, cos_zenith: Floats) -> Floats:
    """On the same sun as all else here: pvlib gives the air mass, the turbidity of the month and the sky."""
    import pandas as pd  # type: ignore[import-untyped]
    from pvlib import atmosphere, clearsky  # type: ignore[import-untyped]

    day = cos_zenith > 0
    zenith = np.degrees(np.arccos(np.clip(cos_zenith[day], 0, 1)))
    noons = pd.date_range(f"{year}-01-01 12:00", periods=len(cos_zenith) // STEPS_A_DAY, freq="D", tz="UTC")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pvlib asks pandas for what newer pandas names otherwise
        turbidity = clearsky.lookup_linke_turbidity(noons, site.lat, site.lon).to_numpy()
    pressure = atmosphere.alt2pres(site.altitude_m)
    mass = atmosphere.get_absolute_airmass(atmosphere.get_relative_airmass(zenith), pressure)
    ghi = np.zeros(len(cos_zenith))
    found = clearsky.ineichen(zenith, mass, np.repeat(turbidity, STEPS_A_DAY)[day], site.altitude_m)
    ghi[day] = np.nan_to_num(np.asarray(found["ghi"], dtype=np.float64))
    return ghi


def panel_yield(sky: Sky, ghi: Floats, temperature_c: float, tilt: float = TILT) -> Floats:
    """Watts of a panel per rated watt, for irradiance `ghi` (W/m², one value a step, as long as the sky).

    Diffuse share by Erbs, Klein and Duffie (1982), an isotropic sky (Liu and Jordan 1963), the cell's
    temperature by its nominal operating one, power by PVWatts (Dobos 2014). A day swings 5 K about the mean.
    """
    up = sky.cos_zenith > LEAST_COS
    clearness = np.clip(np.where(up, ghi / np.maximum(sky.extra, 1.0), 0.0), 0.0, 1.0)
    middle = (
        0.9511 - 0.1604 * clearness + 4.388 * clearness**2 - 16.638 * clearness**3 + 12.336 * clearness**4
    )
    share = np.where(clearness <= 0.22, 1 - 0.09 * clearness, np.where(clearness <= 0.8, middle, 0.165))
    share = np.where(up, share, 1.0)
    diffuse = share * ghi
    beam = np.where(up, (ghi - diffuse) / np.maximum(sky.cos_zenith, LEAST_COS), 0.0)
    slope = np.radians(tilt)
    plane = (
        beam * sky.cos_incidence + diffuse * (1 + np.cos(slope)) / 2 + ghi * ALBEDO * (1 - np.cos(slope)) / 2
    )
    hour = (np.arange(len(ghi)) % STEPS_A_DAY) * STEP_MIN / 60
    air = temperature_c + 5 * np.sin((hour - 9) / 24 * 2 * np.pi)
    cell = air + plane * (NOCT_C - 20) / 800
    return np.asarray(np.maximum(plane / 1000 * (1 + GAMMA * (cell - 25)), 0.0))
