"""The three sizes of one network.

`full` is the teacher: MiniLM-L6 and a vision transformer of DINOv2's shape, both 384 wide, so that the two
streams agree. `student` is at most a tenth of it and is what a box runs; `tiny` is for the smallest boxes.
The student's encoders start from MobileNet V1's ImageNet weights (Howard et al. 2017, arXiv:1704.04861) and
from what MiniLM taught them to read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from akazuba.training.data import Examples
from akazuba.training.minilm import WIDTH as MINILM_WIDTH, MiniLM
from akazuba.training.mobilenet import MobileNet
from akazuba.training.network import Fusion, ImageEncoder, ImageHead, ImageNet, Network, NoteEncoder
from akazuba.training.vit import WIDTH as VIT_WIDTH, VisionTransformer

STUDENT_WIDTH = 128
VOCABULARY_SIZE = 3000
MOBILENET = Path("mobilenet_weights/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite")
MOBILENET_HALF = Path("mobilenet_weights/mobilenet_v1_0.5_160_quant.tflite")


@dataclass(frozen=True)
class Profile:
    """frozen_blocks: of the image encoder; they stay as they are and are cached in training.
    cell_width: of its cells. width: of the reader's vectors and of the fusion.
    half: train in bfloat16 (twice as fast for transformers here, slower for convolutions).
    *_rate: greatest learning rates. image_net: from the folder of the data sets to the untrained encoder.
    """

    name: str
    frozen_blocks: int
    cell_width: int
    width: int
    half: bool
    encoder_rate: float
    reader_rate: float
    head_rate: float
    image_net: Callable[[Path], ImageNet]
    note_reader: Callable[[int], nn.Module]
    """From the size of the student's vocabulary to an untrained reader."""

    def build(self, data: Path, vocabulary: int, heads: Mapping[str, Examples]) -> Network:
        """The network before any training."""
        encoder = ImageEncoder(self.image_net(data), self.frozen_blocks)
        return Network(
            encoder,
            self.note_reader(vocabulary),
            {name: self._head(examples) for name, examples in heads.items()},
        )

    def _head(self, examples: Examples) -> nn.Module:
        labels = len(examples.label_names)
        if examples.notes:
            return Fusion(labels, self.cell_width, self.width)
        return ImageHead(labels, self.cell_width)


def _frozen_table(_: int) -> nn.Module:
    reader = MiniLM.read()
    reader.embeddings.word_embeddings.requires_grad_(
        False
    )  # half of all parameters; a few notes teach no words
    return reader


FULL = Profile(
    "full",
    frozen_blocks=8,
    cell_width=VIT_WIDTH,
    width=MINILM_WIDTH,
    half=True,
    encoder_rate=1e-4,
    reader_rate=3e-5,
    head_rate=1e-3,
    image_net=lambda _: VisionTransformer(),
    note_reader=_frozen_table,
)
STUDENT = Profile(
    "student",
    frozen_blocks=5,
    cell_width=1024,
    width=STUDENT_WIDTH,
    half=False,
    encoder_rate=1e-4,
    reader_rate=1e-4,
    head_rate=1e-3,
    image_net=lambda data: MobileNet(data / MOBILENET),
    note_reader=lambda vocabulary: NoteEncoder(vocabulary, STUDENT_WIDTH),
)
TINY = replace(
    STUDENT,
    name="tiny",
    cell_width=512,
    image_net=lambda data: MobileNet(data / MOBILENET_HALF),
)
PROFILES = {profile.name: profile for profile in (FULL, STUDENT, TINY)}
