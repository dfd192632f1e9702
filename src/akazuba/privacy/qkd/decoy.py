"""What a decoy-state BB84 link can give: its settings, the channel model and the bounds of the secret key.

The channel and the asymptotic rate follow Ma, Qi, Zhao and Lo (2005, PRA 72, 012326), the finite-key bound
Lim, Curty, Walenta, Xu and Zbinden (2014, PRA 89, 022307). Basis X gives the key, basis Z tells the errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from akazuba.errors import InputError

ERROR_CORRECTION = 1.16
"""What error correction is taken to leak before it ran, in units of h(QBER) (Lim 2014, section IV)."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class LinkParameters:
    """The settings of a link. Raises InputError for a value that no link has.

    pulses: sent in one session. intensities: mean photons of signal, weak decoy and near-vacuum, falling;
    shares: how often each is sent. x_share: how often each side picks the key basis. detector_efficiency: of
    everything on Bob's side. dark_counts: per gate and detector. afterpulses: per click. misalignment: the
    part of the photons that reach the wrong detector. epsilon_secret bounds how far the key is from uniform
    for anybody else, epsilon_correct how often both ends could differ unnoticed. The fibre and the detectors
    are those of Lim 2014, the settings of source and bases near the best for 10^9 pulses over 25 km, the
    clock is our choice.
    """

    km: float = 25.0
    pulses: int = 1_000_000_000
    intensities: Triple = (0.48, 0.21, 2e-4)
    shares: Triple = (0.36, 0.50, 0.14)
    x_share: float = 0.86
    loss_db_per_km: float = 0.2
    detector_efficiency: float = 0.1
    dark_counts: float = 6e-7
    afterpulses: float = 0.04
    misalignment: float = 0.005
    pulse_rate_hz: float = 1e9
    epsilon_secret: float = 1e-10
    epsilon_correct: float = 1e-15

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _within(name, getattr(self, name), low, high)
        if isinstance(self.pulses, bool) or not isinstance(self.pulses, int):
            raise InputError("pulses", "a whole number", repr(self.pulses))
        strong, weak, vacuum = _three("intensities", self.intensities)
        _within("intensities", strong, 0, 2)
        if vacuum < 0 or weak <= vacuum or strong <= weak + vacuum:
            expected = "signal > weak + vacuum and weak > vacuum >= 0 (Lim 2014, section II)"
            raise InputError("intensities", expected, str(self.intensities))
        if min(_three("shares", self.shares)) <= 0 or not math.isclose(sum(self.shares), 1, abs_tol=1e-9):
            raise InputError("shares", "three parts above 0 that sum to 1", str(self.shares))

    @property
    def transmittance(self) -> float:
        """Of a photon from Alice's door to a click of Bob's."""
        return self.fibre_transmittance * self.detector_efficiency

    @property
    def fibre_transmittance(self) -> float:
        return math.exp(-math.log(10) * self.loss_db_per_km * self.km / 10)


LONGEST_KM = 1000.0
MOST_PULSES = 10**15

_RANGES = {
    "km": (0.0, LONGEST_KM),
    "pulses": (1, MOST_PULSES),
    "x_share": (0.01, 0.99),
    "loss_db_per_km": (0.0, 10.0),
    "detector_efficiency": (1e-6, 1.0),
    "dark_counts": (0.0, 0.1),
    "afterpulses": (0.0, 0.5),
    "misalignment": (0.0, 0.5),
    "pulse_rate_hz": (1.0, 1e12),
    "epsilon_secret": (1e-30, 0.1),
    "epsilon_correct": (1e-18, 0.1),
}
assert set(_RANGES) < {field.name for field in fields(LinkParameters)}  # noqa: S101


def _within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(name, f"{low:g} to {high:g}", repr(value))


def _three(name: str, values: Sequence[float]) -> Sequence[float]:
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise InputError(name, "three numbers", repr(values))
    return values


def entropy(share: float) -> float:
    """Binary entropy in bits.

    >>> entropy(0.5), entropy(0.0)
    (1.0, 0.0)
    """
    if share <= 0 or share >= 1:
        return 0.0
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def upper_rate(errors: int, trials: int, epsilon: float) -> float:
    """Upper confidence bound of an error rate: above the true rate except with probability epsilon.

    The largest p with trials * KL(errors/trials || p) <= ln(1/epsilon) (Chernoff 1952); 1 without trials.
    """
    if trials == 0 or errors >= trials:
        return 1.0
    seen, allowed = errors / trials, math.log(1 / epsilon) / trials
    low, high = seen, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        apart = -(1 - seen) * math.log((1 - middle) / (1 - seen)) if middle < 1 else math.inf
        apart -= seen * math.log(middle / seen) if seen > 0 else 0
        low, high = (middle, high) if apart <= allowed else (low, middle)
    return high


def gain(link: LinkParameters, intensity: float) -> float:
    """Clicks per pulse: R_k of Lim 2014, Q of Ma 2005 when there are no afterpulses."""
    return (1 + link.afterpulses) * (
        1 - (1 - 2 * link.dark_counts) * math.exp(-link.transmittance * intensity)
    )


def error_gain(link: LinkParameters, intensity: float) -> float:
    """Wrong bits per pulse: e_k of Lim 2014; E Q of Ma 2005 (e_0 = 1/2, Y_0 = 2 dark counts) likewise.

    Lim writes the misalignment term with the fibre's transmittance. We take the whole link's, as Ma does: a
    photon that is not detected makes no error.
    """
    wrong = link.dark_counts + link.misalignment * -math.expm1(-link.transmittance * intensity)
    return wrong + link.afterpulses * gain(link, intensity) / (1 + link.afterpulses) / 2


def asymptotic_rate(
    link: LinkParameters, efficiency: float = ERROR_CORRECTION, *, endless_decoys: bool = False
) -> float:
    """Secret bits per pulse when pulses never end and almost all are signals in the key basis. Never below 0.

    GLLP (Ma 2005, eq. 1). The single photons' yield and error are bounded by vacuum and weak decoy (eqs. 34
    and 37), or exact with `endless_decoys`. Checked against the paper: with GYS's parameters the rate ends
    at 142.02 km with endless decoys (there: 142.05) and, weak decoy 0.05, at 140.61 km (there: 140.55).
    """
    strong, weak, _ = link.intensities
    clicks, wrong, dark = gain(link, strong), error_gain(link, strong), gain(link, 0)
    if endless_decoys:
        one = dark + (1 + link.afterpulses) * link.transmittance
        mistaken = dark / 2 + (link.misalignment + link.afterpulses / 2) * link.transmittance
    else:
        lifted, square = gain(link, weak) * math.exp(weak), (weak / strong) ** 2
        one = lifted - clicks * math.exp(strong) * square - (1 - square) * dark
        one *= strong / (strong * weak - weak**2)
        mistaken = (error_gain(link, weak) * math.exp(weak) - dark / 2) / weak
    if one <= 0 or mistaken >= one / 2:
        return 0.0
    singles = one * strong * math.exp(-strong)
    secret = singles * (1 - entropy(mistaken / one)) - clicks * efficiency * entropy(wrong / clicks)
    return max(0.0, secret)


@dataclass(frozen=True)
class Tallies:
    """Counts after sifting, by intensity: bits of the key basis, bits of Z (shown), errors among these."""

    key: Sequence[float]
    shown: Sequence[float]
    errors: Sequence[float]


@dataclass(frozen=True)
class Bounds:
    """vacuum, singles: at least so many bits of the key basis came from no photon, from one. phase_error: at
    most so large among the latter. secret: bits left before error correction and verification are paid.
    """

    vacuum: float
    singles: float
    phase_error: float
    secret: float


def bounds(link: LinkParameters, seen: Tallies) -> Bounds:
    """Eqs. 2 to 5 of Lim 2014, and eq. 1 without the leaked bits; secret is 0 where nothing can be said.

    Checked against the paper's section IV with settings that we optimised: at 100 km a key block of 10^9
    gives 1.71 times the rate of one of 10^7 (there: about 1.75), and one of 10^4 gives a key up to 132 km
    (there: up to 135 km).
    """
    _, weak, vacuum = link.intensities
    key_none, key_single = _photons(link, seen.key)
    _, shown_single = _photons(link, seen.shown)
    lower, upper = _lifted(link, seen.errors)
    wrong = max(0.0, _tau(link, 1) * (upper[1] - lower[2]) / (weak - vacuum))
    if key_single <= 0 or shown_single <= 0 or wrong >= shown_single / 2:
        return Bounds(key_none, key_single, 0.5, 0.0)
    share = wrong / shown_single
    phase = min(0.5, share + _unseen(link.epsilon_secret, share, shown_single, key_single))
    secret = key_none + key_single * (1 - entropy(phase)) - 6 * math.log2(21 / link.epsilon_secret)
    return Bounds(key_none, key_single, phase, max(0.0, secret))


def verification_bits(link: LinkParameters) -> int:
    """Bits of the hash that shows that both ends hold the same: log2(2 / epsilon_correct), rounded up."""
    return math.ceil(math.log2(2 / link.epsilon_correct))


def key_length(link: LinkParameters, seen: Tallies, leaked: float) -> int:
    """Secret bits (Lim 2014, eq. 1), never below 0. leaked: parities that error correction gave away."""
    return max(0, math.floor(bounds(link, seen).secret - leaked - verification_bits(link)))


def expected_tallies(link: LinkParameters) -> tuple[Tallies, float]:
    """The mean counts of a session without an eavesdropper, and the error rate."""
    x, z = link.pulses * link.x_share**2, link.pulses * (1 - link.x_share) ** 2
    clicks = [part * gain(link, k) for part, k in zip(link.shares, link.intensities, strict=True)]
    wrong = [part * error_gain(link, k) for part, k in zip(link.shares, link.intensities, strict=True)]
    seen = Tallies([x * each for each in clicks], [z * each for each in clicks], [z * each for each in wrong])
    return seen, sum(wrong) / sum(clicks) if sum(clicks) else 0.0


def expected_secret(link: LinkParameters) -> float:
    """Secret bits that a session of `link.pulses` is expected to give; below 0: so many are missing, without
    end when the bounds say nothing.
    """
    seen, qber = expected_tallies(link)
    found, spent = bounds(link, seen), sum(seen.key) * ERROR_CORRECTION * entropy(qber)
    if found.secret <= 0:
        return -math.inf
    return found.secret - spent - verification_bits(link)


def finite_rate(link: LinkParameters) -> float:
    """Secret bits per pulse that a session of `link.pulses` is expected to give."""
    return math.floor(max(0.0, expected_secret(link))) / link.pulses


def _tau(link: LinkParameters, photons: int) -> float:
    """Probability that a pulse holds so many photons."""
    factorial = math.factorial(photons)
    return sum(
        share * math.exp(-k) * k**photons / factorial
        for share, k in zip(link.shares, link.intensities, strict=True)
    )


def _lifted(link: LinkParameters, counts: Sequence[float]) -> tuple[list[float], list[float]]:
    """n-, n+ of Lim 2014 by intensity: Hoeffding's deviation (1963), then divided by p_k e^-k."""
    margin = math.sqrt(sum(counts) / 2 * math.log(21 / link.epsilon_secret))
    scales = [math.exp(k) / share for k, share in zip(link.intensities, link.shares, strict=True)]
    lower = [scale * max(0.0, count - margin) for scale, count in zip(scales, counts, strict=True)]
    return lower, [scale * (count + margin) for scale, count in zip(scales, counts, strict=True)]


def _photons(link: LinkParameters, counts: Sequence[float]) -> tuple[float, float]:
    """Lower bounds of the counts that came from no photon and from one (Lim 2014, eqs. 2 and 3)."""
    strong, weak, vacuum = link.intensities
    lower, upper = _lifted(link, counts)
    none = max(0.0, _tau(link, 0) * (weak * lower[2] - vacuum * upper[1]) / (weak - vacuum))
    many = (weak**2 - vacuum**2) / strong**2 * (upper[0] - none / _tau(link, 0))
    one = _tau(link, 1) * strong * (lower[1] - upper[2] - many)
    return none, max(0.0, one / (strong * (weak - vacuum) - weak**2 + vacuum**2))


def _unseen(epsilon: float, share: float, shown: float, key: float) -> float:
    """The gamma of Lim 2014, eq. 5: how much worse the unseen bits may be than those shown. Its root needs an
    error to take the logarithm of; without one we count half an error, which is worse than none.
    """
    share = max(share, 0.5 / shown)
    if share >= 0.5:
        return 0.5
    spread = (shown + key) * (1 - share) * share / (shown * key * math.log(2))
    inside = (shown + key) / (shown * key * (1 - share) * share) * (21 / epsilon) ** 2
    return math.sqrt(max(0.0, spread * math.log2(inside)))
