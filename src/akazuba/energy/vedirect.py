"""Victron's VE.Direct text protocol: blocks of `name TAB value` lines whose bytes sum to 0 modulo 256.

Written from the maker's public description of the protocol (edition not checked: source: unverified).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from akazuba.energy.values import Reading
from akazuba.errors import InputError

LONGEST_BLOCK = 4096
END = b"\r\nChecksum\t"


def blocks(data: bytes) -> Iterator[Mapping[str, str]]:
    """Every whole block of a stream with a right checksum; what is torn or altered is left out.

    HEX messages (`:…` lines), which a device may put between blocks, are dropped first.
    """
    rest = _without_hex(data)
    while (at := rest.find(END)) >= 0:
        end = at + len(END) + 1
        if end > len(rest):
            return
        start = max(0, rest.rfind(b"\r\nPID\t", 0, at))
        with suppress(InputError):
            yield read_block(rest[start:end])
        rest = rest[end:]


def read_block(block: bytes) -> Mapping[str, str]:
    r"""One block, from the line break before its first line to its checksum byte.

    Raises InputError when the checksum is wrong, it is too long, or a line has no tab.

    >>> body = b"\r\nV\t13120\r\nPPV\t23\r\nChecksum\t"
    >>> read_block(body + bytes([-sum(body) % 256]))["PPV"]
    '23'
    """
    if len(block) > LONGEST_BLOCK:
        raise InputError("VE.Direct block", f"at most {LONGEST_BLOCK} bytes", str(len(block)))
    if sum(block) % 256:
        raise InputError("VE.Direct block", "a checksum of 0", str(sum(block) % 256))
    body, found, _ = block.partition(END)
    if not found:
        raise InputError("VE.Direct block", "a line Checksum", "none")
    values = {}
    for line in body.split(b"\r\n"):
        if not line:
            continue
        name, tab, value = line.decode("latin-1").partition("\t")
        if not tab:
            raise InputError("VE.Direct block", "name, tab, value", ascii(line))
        values[name] = value
    return values


def reading(values: Mapping[str, str]) -> Reading:
    """Of a block: `V` in mV, `PPV` in W, `I` in mA into the battery, `IL` in mA of the load, `SOC` in tenths
    of a percent. A controller that has no load output gives the load by what is missing.

    Raises InputError for a value that is no number.
    """
    volts = _scaled(values, "V", 1e-3)
    panel = _scaled(values, "PPV", 1.0)
    into = _scaled(values, "I", 1e-3)
    load = _scaled(values, "IL", 1e-3)
    soc = _scaled(values, "SOC", 1e-3)
    load_w = None
    if load is not None and volts is not None:
        load_w = load * volts
    elif panel is not None and into is not None and volts is not None:
        load_w = panel - into * volts
    return Reading(soc, volts, panel, load_w)


def _scaled(values: Mapping[str, str], name: str, factor: float) -> float | None:
    text = values.get(name)
    if text is None or text == "---":
        return None
    try:
        return int(text) * factor
    except ValueError:
        raise InputError(f"VE.Direct {name}", "a whole number", ascii(text)) from None


def _without_hex(data: bytes) -> bytes:
    kept, at = [], 0
    while (start := data.find(b":", at)) >= 0:
        end = data.find(b"\n", start)
        is_hex = end > start and all(byte in b"0123456789ABCDEF\r" for byte in data[start + 1 : end])
        kept.append(data[at:start] if is_hex else data[at : start + 1])
        at = end + 1 if is_hex else start + 1
    return b"".join([*kept, data[at:]])
