"""What is right for each of the small networks of this folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.sweepfile.decode import decode

HERE = "tests.cases"


@dataclass(frozen=True)
class Case:
    """A network, and what pruning it comes to. Layers go by their names, as in `Network.weights`."""

    module: str
    name: str
    data: str
    weights: str
    """The layers whose weights are pruned by default, all of them."""
    units: str = ""
    """Those of which an exported ticket has fewer units, at least; more may be."""
    coupled: str = ""
    """Those that lose units in addition where coupled ones go."""
    whole: str = ""
    """Those that must keep all their units."""
    left: str = ""
    """Those that are said to be left out."""
    unused: str = ""
    """Those that are never used, and so do not count."""
    no_pt2: bool = False
    """Whether PyTorch cannot export it: it decides by values, or is a program already."""
    options: Mapping[str, Any] = field(default_factory=dict)
    prunable: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, granularity: Any, **changes: Any) -> TrialConfig:
        """Two levels of a few steps."""
        raw = {
            "data": {"kind": f"{HERE}.data:{self.data}"},
            "model": {"kind": f"{HERE}.{self.module}:{self.name}", **self.options},
            "train": {"length": "6 steps", "batch": 32, "optimizer": {"kind": "adam", "lr": 0.005},
                      "evaluate": "6 steps"},
            "granularity": granularity,
            "rate": 0.4,
            "levels": 2,
            "seeds": 1,
            **({"prunable": self.prunable} if self.prunable else {}),
        } | changes  # fmt: skip
        trial: TrialConfig = decode(TrialConfig, raw)
        return trial

    def __str__(self) -> str:
        options = [str(option) for option in (*self.options.values(), *self.prunable.values())]
        return "-".join([self.name, *options]).replace("'", "").replace("[", "").replace("]", "")


ENCODER = " ".join(
    f"enc.layers.0.{part}" for part in ("self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2")
)
EXPERTS = " ".join(f"experts.{number}" for number in range(4))
CASES = (
    Case("images", "Grouped", "Img", "a g c d head", "a g c d", whole="head"),
    Case("images", "UNet", "Img", "d1 d2 up u1 head", "d1 d2 up u1", whole="head"),
    Case("images", "GroupNorms", "Img", "a b c fc head", "a b c fc", whole="head"),
    Case("images", "OnlyGroupNorms", "Img", "a b head", "a b", whole="head"),
    Case("images", "DirectParameters", "Img", "a b c head", "a b c", whole="head"),
    Case("images", "ChannelsLastFlatten", "Img", "a b fc head", "a b fc", whole="head"),
    Case("images", "PixelShuffled", "Img", "a b head", "a b", whole="head"),
    Case("images", "Spectral", "Img", "a b head", "b", whole="head"),
    Case("images", "Spectral", "Img", "b head", "b", whole="a head", left="a", options={"norm": "weight"}),
    Case("images", "Spectral", "Img", "b head", "b", whole="a head", left="a", options={"norm": "old"}),
    Case("images", "Conv3dNet", "Img", "a b fc head", "a b fc", whole="head"),
    Case("images", "CircularConv1dImages", "Img", "a b fc head", "a b fc", whole="head"),
    Case("images", "CircularConv1d", "Seq", "a b head", "a b", whole="head"),
    Case("images", "ChannelShuffle", "Img", "a b c d head", "d", whole="head"),
    Case("images", "Gate", "Img", "a att b one c head", "a b c", whole="att one head"),
    Case("sequences", "Encoder", "Seq", f"proj {ENCODER} head",
         "enc.layers.0.self_attn.in_proj_weight enc.layers.0.linear1", "proj enc.layers.0.linear2", whole="head"),
    # It knows no positions, and so learns nothing of Seq.
    Case("sequences", "JointQkv", "Tones", "proj qkv out f1 f2 head", "f1", whole="proj qkv out f2 head"),
    Case("sequences", "Lstm", "Seq", "rnn.weight_ih_l0 rnn.weight_hh_l0 head", "rnn.weight_ih_l0", whole="head"),
    Case("sequences", "ConvThenGru", "Seq",
         "conv gru.weight_ih_l0 gru.weight_hh_l0 gru.weight_ih_l0_reverse gru.weight_hh_l0_reverse fc head",
         "conv gru.weight_ih_l0 fc", whole="head"),
    Case("sequences", "TiedLinear", "Seq", "inp a head", coupled="inp a", whole="head"),
    Case("sequences", "Tokens", "Tok", "fc head", "fc", whole="head"),
    Case("sequences", "Tokens", "Tok", "emb fc head", "fc", whole="head", prunable={"add": ["emb.weight"]}),
    Case("sequences", "TiedEmbedding", "Tok", "fc head", coupled="fc", whole="head"),
    Case("sequences", "TiedEmbedding", "Tok", "emb fc head", coupled="fc", whole="head", prunable={"add": ["emb*"]}),
    Case("layers", "HeadFirst", "Img", "head a b", "a b", whole="head"),
    Case("layers", "FrozenPretrained", "Img", "mid head", "mid", whole="back head"),
    Case("layers", "UnusedMiddle", "Img", "a b head", "a b", whole="head", unused="unused"),
    Case("layers", "UnusedLast", "Img", "a b head", "a b", whole="head", unused="project"),
    Case("layers", "InPlaceInput", "Img", "a head", "a", whole="head"),
    Case("layers", "InPlaceInputNoGrad", "Img", "a head", "a", whole="head"),
    Case("layers", "GatedLinearUnit", "Img", "a head", "a", whole="head"),
    Case("odd", "Experts", "Seq", f"a gate {EXPERTS} head", whole=f"a gate {EXPERTS} head", no_pt2=True),
    Case("odd", "Sampled", "Seq", "a mean spread b head", "a mean b", whole="head"),
    Case("odd", "Looped", "Seq", "a up down head", "up", "a down", whole="head"),
    Case("odd", "Scripted", "Seq", "a head", whole="a head", left="part.0", no_pt2=True),
    Case("odd", "Fourier", "Seq", "a head", whole="head", left="waves"),
)  # fmt: skip
