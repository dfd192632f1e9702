"""What a plugin's image reader or sensor answers, checked before it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from akazuba.errors import ArtefactError
from akazuba.plugins.guard import Guard
from akazuba.plugins.parts import ImageAnswer, ImageKind, Sensor, SensorReading
from akazuba.records import ImageReading, ModelEvidence, Picture, Quality, QualityProblem, Vitals


@dataclass(frozen=True)
class ImageReader:
    """model: as in an assessment's image."""

    plugin: str
    model: str
    kind: ImageKind
    ask: Guard[ImageAnswer]

    def read(self, picture: Picture) -> tuple[ImageReading, ModelEvidence | None]:
        """Raises ArtefactError for an answer that cannot be used, OutOfTimeError."""
        unusable = [problem.message for problem in picture.problems if not problem.remark]
        if unusable:
            quality = Quality(usable=False, problems=picture.problems)
            why = "; ".join(unusable)
            return ImageReading(picture.path, picture.kind, quality, abstained=True, why=why), None
        answer = self._answer(self.ask(Picture("", picture.kind, picture.pixels.copy())))
        image = ImageReading(
            path=picture.path,
            kind=picture.kind,
            quality=Quality(True, (*picture.problems, self._remark())),
            labels=dict(sorted(answer.labels.items(), key=lambda item: -item[1])),
            abstained=answer.why_not is not None,
            why=answer.why_not,
            heatmap_grid=answer.heatmap_grid,
            model=self.model,
        )
        if not answer.likelihood_ratios:
            return image, None
        return image, ModelEvidence(self.model, answer.likelihood_ratios, reads_note=False)

    def _remark(self) -> QualityProblem:
        return QualityProblem("plugin", f"read by plugin {self.plugin}, no part of the box", remark=True)

    def _answer(self, given: object) -> ImageAnswer:
        item = f"plugin {self.plugin}, image {self.kind.name}"
        if not isinstance(given, ImageAnswer):
            raise ArtefactError(item, "an ImageAnswer", type(given).__name__)
        try:
            answer = msgspec.convert(msgspec.to_builtins(given), ImageAnswer)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as problem:
            raise ArtefactError(item, "a sound ImageAnswer", str(problem)) from problem
        if answer.why_not is not None:
            if answer.labels or answer.likelihood_ratios or answer.heatmap_grid:
                raise ArtefactError(item, "labels or why_not", "both")
            return answer
        if not abs(sum(answer.labels.values()) - 1) <= 0.01:
            raise ArtefactError(item, "labels that sum to 1", f"{sum(answer.labels.values()):.3f}")
        if {*answer.likelihood_ratios} != {*self.kind.conditions}:
            expected = f"ratios for {', '.join(self.kind.conditions) or 'no condition'}"
            raise ArtefactError(item, expected, ", ".join(answer.likelihood_ratios) or "none")
        rows = {len(row) for row in answer.heatmap_grid}
        if (
            len(rows) > 1
            or 0 in rows
            or not all(map(math.isfinite, (v for row in answer.heatmap_grid for v in row)))
        ):
            raise ArtefactError(item, "a heatmap of equal rows of numbers", "another")
        return answer


@dataclass(frozen=True)
class SensorReader:
    """A sensor that the page offers."""

    plugin: str
    sensor: Sensor
    ask: Guard[float]

    def take(self) -> SensorReading:
        """Reads it once. Raises ArtefactError for what is no possible value of the sign, OutOfTimeError."""
        sensor = self.sensor
        value, item = self.ask(), f"plugin {self.plugin}, sensor {sensor.name}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ArtefactError(item, f"a number in {sensor.unit}", type(value).__name__)
        try:
            msgspec.convert({sensor.vital: float(value)}, Vitals)
        except msgspec.ValidationError as problem:
            expected = f"a possible {sensor.vital} in {sensor.unit}"
            raise ArtefactError(item, expected, f"{value:g}") from problem
        return SensorReading(sensor.name, sensor.vital, sensor.unit, float(value), sensor.simulated)
