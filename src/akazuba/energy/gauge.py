"""What may be counted on in the battery, whatever the gauge says.

Three witnesses: the gauge, the energy counted in and out since the battery was last full, and the voltage,
which bounds the charge from above. The lowest is believed. A gauge that is gone, stuck or absurd is left out,
and the reason is shown.
"""

from __future__ import annotations

from akazuba.energy.kit import FULL_V, Kit, most_charge_at
from akazuba.energy.values import Charge, Reading

VOLTS_OFF = 0.06
"""How far a rest voltage may lie off the curve: hysteresis, temperature, the meter (our assumption)."""
COUNT_OFF, COUNT_DRIFT = 0.05, 0.015
"""How far the count may be off: at once, and for every battery's worth of energy moved since it was set."""
STUCK = 0.08
"""Share of the battery that must have moved while the gauge stood still."""
DISAGREE = 0.12
"""By so much the gauge may exceed the other two before it is named."""


class GaugeCheck:
    """Remembers what was counted. One for each battery."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._counted: float | None = None
        self._moved = 0.0
        self._last: float | None = None
        self._since_change = 0.0

    def check(self, said: Reading, hours: float) -> Charge:
        """said: now. hours: since the last call, for which its powers are taken to have held."""
        kit = self._kit
        soc, volts, panel_w, load_w = said
        net_w = None
        if panel_w is not None and load_w is not None and -1 <= panel_w <= 2 * kit.panel_w:
            net_w = panel_w - load_w
            self._count(net_w * hours)
        ceiling = self._from_volts(volts, net_w)
        soc, problem = self._believable(soc)
        count = self._from_count()
        safe = soc
        if ceiling is not None and (safe is None or ceiling < safe):
            safe = ceiling
        if count is not None and (safe is None or count < safe):
            safe = count
        if safe is None:
            return Charge(None, problem)
        if soc is not None and soc - safe > DISAGREE:
            others = "the voltage allows" if safe == ceiling else "the count allows"
            problem = f"gauge reads {soc:.0%}, {others} at most {safe:.0%}"
        if self._counted is None and soc is not None and safe == soc:
            self._counted = soc * kit.battery_wh
        return Charge(safe * kit.battery_wh, problem)

    def forget(self) -> None:
        """Nobody measured for a while: the count begins anew from what the others say."""
        self._counted, self._moved = None, 0.0

    def _count(self, wh: float) -> None:
        kit = self._kit
        self._since_change += abs(wh)
        if self._counted is not None:
            moved = wh * kit.charge_efficiency if wh >= 0 else wh / kit.discharge_efficiency
            self._counted = min(kit.battery_wh, max(0.0, self._counted + moved))
            self._moved += abs(moved)

    def _from_count(self) -> float | None:
        if self._counted is None:
            return None
        off = COUNT_OFF + COUNT_DRIFT * self._moved / self._kit.battery_wh
        return min(1.0, self._counted / self._kit.battery_wh + off)

    def _from_volts(self, volts: float | None, net_w: float | None) -> float | None:
        """A full battery sets the count; volts that no such battery has are left out."""
        if volts is None or not 8 <= volts <= 16:
            return None
        if volts >= FULL_V:
            self._counted, self._moved = self._kit.battery_wh, 0.0
            return 1.0
        drop = 0.0 if net_w is None else net_w / volts * self._kit.resistance_ohm
        return most_charge_at(volts - drop + VOLTS_OFF)

    def _believable(self, soc: float | None) -> tuple[float | None, str]:
        if soc is None:
            return None, "the gauge is gone"
        if not -0.005 <= soc <= 1.02:
            return None, f"gauge reads {soc:.0%}"
        if soc != self._last:
            self._last, self._since_change = soc, 0.0
        elif self._since_change > STUCK * self._kit.battery_wh and 0.0 < soc < 0.995:
            return None, f"the gauge stands still at {soc:.0%}"
        return min(1.0, max(0.0, soc)), ""
