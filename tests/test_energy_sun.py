"""Sun, weather and tables: near what is published of them, and honest about where they come from."""

import datetime
import re
from pathlib import Path

import numpy as np
import pytest

from akazuba.energy import devices as tables
from akazuba.energy.demand import Habits, draw, expected_emergencies, expected_routine
from akazuba.energy.devices import FIGURES, device, devices, sources
from akazuba.energy.kit import STEPS_A_DAY, Kit
from akazuba.energy.sites import Site, site, sites
from akazuba.energy.sun import clear_year, panel_yield, steps_in
from akazuba.energy.weather import read_year, simulated_year
from akazuba.errors import ArtefactError, InputError

KIGALI = site("kigali")


def monthly(values: np.ndarray, year: int = 2025) -> np.ndarray:
    """kWh/m² a day by month from W/m² by step."""
    days = values.reshape(-1, STEPS_A_DAY).sum(1) / 12 / 1000
    months = (np.datetime64(f"{year}-01-01") + np.arange(len(days))).astype("datetime64[M]").astype(int) % 12
    return np.array([days[months == month].mean() for month in range(12)])


def test_the_clear_sky_formula_is_near_pvlib_s() -> None:
    pytest.importorskip("pvlib")
    ours, theirs = clear_year(KIGALI, 2025, use_pvlib=False), clear_year(KIGALI, 2025, use_pvlib=True)
    assert ours.ghi.sum() == pytest.approx(theirs.ghi.sum(), rel=0.1)
    assert (ours.ghi[:60] == 0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_our_sun_stands_where_pvlib_s_does() -> None:
    location = pytest.importorskip("pvlib.location")
    pandas = pytest.importorskip("pandas")
    for name in ("kigali", "maputo", "dakar"):
        here = site(name)
        zone = datetime.timezone(datetime.timedelta(hours=here.utc_offset_h))
        times = pandas.date_range("2025-01-01 00:02:30", periods=steps_in(2025), freq="5min", tz=zone)[::97]
        place = location.Location(here.lat, here.lon, altitude=here.altitude_m)
        zenith = place.get_solarposition(times, method="ephemeris")["zenith"].to_numpy()
        theirs = np.maximum(np.cos(np.radians(zenith)), 0)
        assert np.abs(clear_year(here, 2025, use_pvlib=False).cos_zenith[::97] - theirs).max() < 0.01


@pytest.mark.parametrize("name", ["kigali", "douala", "niamey"])
def test_a_simulated_year_has_the_monthly_means_of_its_place(name: str) -> None:
    here = site(name)
    year = simulated_year(here, 2025, 5)
    assert year.simulated
    assert "SIMULATED" in year.says
    sky = clear_year(here, 2025)
    share = year.power.reshape(-1, STEPS_A_DAY).sum(1) / year.clear.reshape(-1, STEPS_A_DAY).sum(1)
    wanted = np.array(here.ghi) / monthly(sky.ghi)
    months = (np.datetime64("2025-01-01") + np.arange(365)).astype("datetime64[M]").astype(int) % 12
    got = np.array([share[months == month].mean() for month in range(12)])
    assert np.abs(got - np.minimum(wanted, 0.97)).max() < 0.16  # dust and the cloud's own spectrum remain
    assert 0.05 < share.std() < 0.35


def test_years_differ_by_seed_and_agree_by_it() -> None:
    one, again, other = (simulated_year(KIGALI, 2025, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.power, again.power)
    assert not np.array_equal(one.power, other.power)
    assert (one.power >= 0).all()
    assert one.power.max() < 1.3


def test_there_are_fifteen_african_places_and_each_says_where_its_figures_come_from() -> None:
    assert len(sites()) >= 15
    assert all(isinstance(here, Site) and here.source for here in sites().values())
    assert all(2 < mean < 8 for here in sites().values() for mean in here.ghi)


def test_every_figure_of_every_device_has_a_source() -> None:
    for name in devices():
        assert set(FIGURES) <= set(sources(name))
        assert all(sources(name)[figure] for figure in FIGURES)


def test_what_is_unknown_is_named_with_what_there_is() -> None:
    with pytest.raises(InputError, match="device: expected n100 or orin-nano or pi5, found pi9"):
        device("pi9")
    with pytest.raises(InputError, match=r"site: expected .*kigali.*, found atlantis"):
        site("atlantis")
    with pytest.raises(InputError, match=r"kit\.panel_w: expected 1 to 100000, found -3"):
        Kit(panel_w=-3)
    with pytest.raises(InputError, match="opening hours"):
        Habits(17.0, 8.0)


def test_a_broken_table_of_devices_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "devices.json"
    broken.write_text(tables.FILE.read_text().replace('"idle_w": {"value": 2.8', '"idle_w": {"value": -2.8'))
    monkeypatch.setattr(tables, "FILE", broken)
    tables._table.cache_clear()
    tables.devices.cache_clear()
    try:
        with pytest.raises(ArtefactError, match="pi5, idle_w"):
            tables.devices()
    finally:
        monkeypatch.undo()
        tables._table.cache_clear()
        tables.devices.cache_clear()


def power_csv(year: int, *, missing: int = 0) -> str:
    """An invented year as NASA POWER writes it (UTC): 600 W/m² from 6 to 16 h."""
    lines = ["-BEGIN HEADER-", "-END HEADER-", "YEAR,MO,DY,HR,ALLSKY_SFC_SW_DWN"]
    start = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
    for hour in range(8760 - missing):
        at = start + datetime.timedelta(hours=hour)
        lines.append(f"{at.year},{at.month},{at.day},{at.hour},{600 if 6 <= at.hour < 16 else 0}")
    return "\n".join(lines) + "\n"


def test_a_real_year_of_nasa_power_is_read_in_local_time_with_its_energy(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_text(power_csv(2023))
    year = read_year(path, KIGALI)
    assert not year.simulated
    sky = clear_year(KIGALI, 2023)
    level = panel_yield(sky, np.where(sky.ghi > 0, 600.0, 0.0), KIGALI.temperature_c)
    noon = 12 * 12 + 100 * STEPS_A_DAY
    assert year.power[noon] == pytest.approx(level[noon], rel=0.15)
    assert year.power[3 * 12] == 0
    assert year.power[19 * 12 + 6] == 0  # 17:30 UTC


def test_a_real_year_of_pvgis_is_read(tmp_path: Path) -> None:
    lines = [
        "Latitude (decimal degrees): -1.950",
        "Nominal power of the PV system (peak power) (kWp): 1.0",
        "",
        "time,P,G(i)",
    ]
    start = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)
    for hour in range(8760):
        at = start + datetime.timedelta(hours=hour)
        lines.append(f"{at:%Y%m%d:%H}10,{500.0 if 6 <= at.hour < 16 else 0.0},0")
    path = tmp_path / "pvgis.csv"
    path.write_text("\n".join([*lines, "", "P: PV system power (W)"]))
    year = read_year(path, KIGALI)
    assert year.power.sum() / 12 / 365 == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a header"),
        ("YEAR,MO,DY,HR,T2M\n2023,1,1,0,20\n", "a column ALLSKY_SFC_SW_DWN"),
        ("YEAR,MO,DY,HR,ALLSKY_SFC_SW_DWN\n2023,1,1,0,-999\n", "irradiance of 0 or more"),
        ("YEAR,MO,DY,HR,ALLSKY_SFC_SW_DWN\n2023,1,1,zero,5\n", "a number, found 'zero'"),
        ("YEAR,MO,DY,HR,ALLSKY_SFC_SW_DWN\n2023,1,1,0,5\n", "8759 hours missing"),
        ("time,T2m\n20230101:0010,20\n", re.escape("a column P or G(i)")),
    ],
)
def test_a_weather_file_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "weather.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_year(path, KIGALI)


def test_people_come_as_often_as_the_habits_say_and_routine_stays_in_open_hours() -> None:
    crowd = draw(Habits(), 365, 4)
    assert crowd.emergency.sum() / 365 == pytest.approx(2.0, rel=0.1)
    assert (~crowd.emergency).sum() / 365 == pytest.approx(40.0, rel=0.1)
    hour = crowd.at_s[~crowd.emergency] % 86400 / 3600
    assert ((hour >= 8) & (hour < 17)).mean() > 0.9
    assert expected_routine(Habits(0.0, 24.0)).sum() == pytest.approx(40.0)
    assert expected_emergencies(Habits()).sum() == pytest.approx(2.0)
