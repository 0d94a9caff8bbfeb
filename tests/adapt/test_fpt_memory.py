"""Memory of a training step of FPT and FPT+ on the real architecture (sheets: fpt, fpt_plus)."""

import pytest
import torch
from tensordict import TensorDict

from scantling.adapt.fpt import FPT
from scantling.core.batch import IMAGE
from scantling.core.seams import Inputs
from scantling.run.meter import measure_training

KINDS = {"fpt+": {}, "fpt": {"blocks": "all", "prompt_width": "side", "residual": "after"}}


def activations(method: str, side: int, attention: str = "fused", **settings) -> int:
    """Bytes kept for the backward pass of 16 images, and the stored features, of the real architecture."""
    given = {**KINDS[method], **settings, "weights": "none"}
    inputs = Inputs(size=(side, side))

    def batch() -> TensorDict:
        fields = FPT.views(given, inputs)[0].derivation.fields(3)
        rows = {name: torch.zeros(16, *shape[1:], dtype=getattr(torch, kind)) for name, (kind, shape) in fields.items()}
        return TensorDict({IMAGE: torch.zeros(16, 3, side, side), **rows}, [16])

    cost = measure_training(
        lambda: FPT(5, inputs, **given), batch, lambda net, b: net(b).square().mean(), attention=attention
    )
    return cost.activation_bytes + cost.input_bytes - 16 * 3 * side * side * 4


@pytest.mark.parametrize(
    ("kind", "side", "ratio", "mebibytes"),
    [("fpt+", 128, 0.2, 213), ("fpt+", 128, 1.0, 732), ("fpt+", 224, 0.2, 466),
     ("fpt", 224, 0.2, 921), ("fpt", 224, 1.0, 1_959)],
)  # fmt: skip
def test_bytes_kept_for_the_backward_pass_are_those_of_the_sheets(kind, side, ratio, mebibytes):
    """As published: float32 features, attention that is not fused."""
    kept = activations(kind, side, "unfused", ratio=ratio, stored_dtype="float32") / 2**20
    assert kept == pytest.approx(mebibytes, rel=0.005)


def test_memory_of_our_own_defaults():
    ours = activations("fpt+", 128)
    assert ours < 0.65 * 213 * 2**20
    assert ours < activations("fpt+", 128, ratio=0.4)
    assert ours > activations("fpt+", 128, stored_dtype="int8")
    # 1024 x 1024 pixels are 4097 tokens; the same 205 of them are kept.
    assert activations("fpt+", 128, frozen_size=1024, ratio=0.05005) == ours
