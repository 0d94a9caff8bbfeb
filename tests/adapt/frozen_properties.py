"""Properties that every adapter on a frozen network has; the test files of the methods load this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from scantling.adapt.frozen import FrozenAdapter
from scantling.adapt.full import LinearProbe
from scantling.core.frozen import weights_hash
from scantling.core.seams import Inputs

SIZE = (48, 32)
CLASSES = 3

Build = Callable[..., Any]


def build(kind: Build, backbone: str = "test_vit", seed: int = 0, **settings: Any) -> Any:
    """An adapter for images that are not square, on random weights that are always the same."""
    torch.manual_seed(seed)
    settings.setdefault("weights", "none")
    return kind(CLASSES, Inputs(SIZE), backbone=backbone, **settings)


def images(n: int = 3, seed: int = 0) -> TensorDict:
    """A batch with labels."""
    g = torch.Generator().manual_seed(seed)
    return TensorDict(
        {"image": torch.rand(n, 3, *SIZE, generator=g), "label": torch.randint(0, CLASSES, (n,), generator=g)},
        batch_size=[n],
    )


@torch.no_grad()
def logits(adapter: Any, batch: TensorDict | None = None) -> Tensor:
    """What the adapter says in evaluation."""
    return adapter.eval()(images() if batch is None else batch)


@torch.no_grad()
def stir(adapter: Any, seed: int = 1) -> Any:
    """The adapter, everything that learns moved by noise."""
    g = torch.Generator().manual_seed(seed)
    for _, parameter in adapter.learnable():
        parameter += 0.2 * torch.randn(parameter.shape, generator=g)
    return adapter


def loud(adapter: Any) -> Any:
    """The adapter with layer scales of one: the random networks' own, 1e-5, would hide what their blocks do."""
    for module in adapter.backbone.modules():
        if type(module).__name__ == "LayerScale":
            module.gamma = torch.nn.Parameter(torch.ones_like(module.gamma), requires_grad=False)
    return adapter


def probe(adapter: FrozenAdapter) -> LinearProbe:
    """A linear probe on the same frozen network, with the same head."""
    assert adapter.frozen is not None
    same = LinearProbe(
        CLASSES, adapter.inputs, adapter.frozen.name, f"frozen:{adapter.frozen.hash}:{adapter.frozen.source}"
    )
    assert same.frozen is adapter.frozen
    same.head.load_state_dict(adapter.head.state_dict())
    return same


def gradients(adapter: Any, seed: int = 0) -> dict[str, Tensor]:
    """Gradients of one loss, by name, for whatever got one."""
    adapter.train().zero_grad()
    batch = images(seed=seed)
    F.cross_entropy(adapter(batch), batch["label"]).backward()
    return {name: p.grad.clone() for name, p in adapter.named_parameters() if p.grad is not None}


def step(adapter: Any, steps: int = 1) -> None:
    """AdamW steps, with weight decay."""
    optimizer = torch.optim.AdamW((p for _, p in adapter.learnable()), lr=0.01, weight_decay=0.1)
    for seed in range(steps):
        gradients(adapter, seed)
        optimizer.step()


def is_the_probe_at_the_start(kind: Build, **settings: Any) -> None:
    """Logits equal those of the linear probe; once stirred, they do not."""
    for backbone in ("test_vit", "test_vit2"):
        adapter = loud(build(kind, backbone, **settings))
        same = loud(probe(adapter))
        torch.testing.assert_close(logits(adapter), logits(same), atol=1e-5, rtol=1e-5)
        stir(adapter)
        same.head.load_state_dict(adapter.head.state_dict())
        assert (logits(adapter) - logits(same)).abs().max() > 1e-3


def learns_exactly(
    kind: Build, declared: Callable[[str], bool], late: Callable[[str], bool] = lambda name: False, **settings: Any
) -> None:
    """The declared parameters of the backbone and the head learn, and nothing else has a gradient.

    Those that are ``late`` have a gradient of zero in the first step and another one in the second.
    """
    adapter = build(kind, **settings)
    names = {name for name, _ in adapter.named_parameters()}
    expected = {name for name in names if name.startswith("head.") or declared(name)}
    assert len(expected) > 2, "the test declares nothing"
    assert {name for name, _ in adapter.learnable()} == expected
    found = gradients(adapter)
    assert set(found) == expected
    assert {name for name, gradient in found.items() if not gradient.any()} == {n for n in expected if late(n)}
    step(adapter)
    still = [name for name, gradient in gradients(adapter, seed=1).items() if not gradient.any()]
    assert not still, f"no gradient in the second step: {still}"


def leaves_the_frozen_network_alone(kind: Build, **settings: Any) -> None:
    """Two adapters compute with the same memory; training one changes neither the frozen network nor the other one."""
    one, two = build(kind, **settings), build(kind, seed=5, **settings)
    assert one.frozen is two.frozen is not None
    state = one.frozen.state
    shared = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    learnable = {name for name, _ in one.learnable()}
    for adapter in (one, two):
        for name, parameter in adapter.named_parameters():
            inside = parameter.untyped_storage().data_ptr() in shared
            # A table of positions is resampled to the size of the images, and so has memory of its own.
            assert inside == (name not in learnable and "pos_embed" not in name), name
    before, said = weights_hash(state), logits(two)
    moved = logits(one)
    step(one, 3)
    assert weights_hash(state) == before == one.frozen.hash
    assert torch.equal(logits(two), said)
    assert not torch.equal(logits(one), moved)


def is_kept_by_what_learned(kind: Build, **settings: Any) -> None:
    """What learned, put into another adapter on the same network, gives the same logits; nothing frozen is among it."""
    one, two = stir(build(kind, **settings)), build(kind, seed=5, **settings)
    kept = {name: tensor.clone() for name, tensor in one.learned_state().items()}
    assert set(kept) == {name for name, _ in one.learnable()}
    assert not torch.equal(logits(one), logits(two))
    left = two.load_state_dict(kept, strict=False)
    assert not left.unexpected_keys
    assert torch.equal(logits(one), logits(two))


def has_equal_gradients_when_checkpointed(kind: Build, **settings: Any) -> None:
    """Checkpointing changes no gradient and keeps fewer tensors for the backward pass."""
    plain, saving = (stir(build(kind, checkpointing=c, **settings)) for c in (False, True))
    few, many = kept_bytes(saving), kept_bytes(plain)
    assert few < 0.8 * many, f"{few} bytes with checkpointing, {many} without"
    expected, found = gradients(plain), gradients(saving)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


def kept_bytes(adapter: Any) -> int:
    """Bytes of memory that a forward pass keeps for the backward pass, parameters aside; each piece counts once."""
    own = {p.untyped_storage().data_ptr() for p in adapter.parameters()}
    pieces = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept_tensors(adapter)}
    return sum(count for place, count in pieces.items() if place not in own)


def kept_tensors(adapter: Any) -> list[Tensor]:
    """The tensors that a forward pass in training keeps for the backward pass."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        adapter.train()(images())
    return found


def blocks_with_gradient(adapter: Any) -> list[bool]:
    """For every block of the backbone, whether a gradient flows through what it gives."""
    flows: list[bool] = []
    hooks = [
        block.register_forward_hook(lambda _, __, result: flows.append(result.requires_grad))
        for block in adapter.backbone.body.blocks
    ]
    adapter.train()(images())
    for hook in hooks:
        hook.remove()
    return flows


def keeps_gradients_from_the_images(adapter: Any) -> None:
    """Not even images that ask for a gradient get one through the backbone."""
    batch = images()
    batch["image"].requires_grad_()
    F.cross_entropy(adapter.train()(batch), batch["label"]).backward()
    assert batch["image"].grad is None


def on_meta(kind: Build, **settings: Any) -> Any:
    """The adapter on ViT-B/16 at 512 pixels with five classes, without any memory."""
    with torch.device("meta"):
        adapter = kind(5, Inputs((512, 512)), backbone="vit_base_patch16_384", weights="hub", **settings)
    assert all(p.is_meta for p in adapter.parameters())
    return adapter


def added(adapter: Any) -> int:
    """Parameters that learn, without the head."""
    return sum(p.numel() for name, p in adapter.learnable() if not name.startswith("head."))
