"""Mixing tokens: the same as mixing pixels where the patch embedding is affine, and gradients in proportion."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scantling.adapt import FullFineTuning
from scantling.augment import SPMix
from scantling.augment.mixers.tokens import mix_tokens, mixed_tokens, patch_embedding
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs

from .batches import batch, configured, generator


def network(name: str, size: int) -> FullFineTuning:
    torch.manual_seed(0)
    return FullFineTuning(3, Inputs((size, size), 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), name, "none").eval()


def levels(adapter: FullFineTuning, size: int, patch_size: int) -> list[torch.Tensor]:
    """Outputs for the same mixes, of pixels and of tokens."""
    rows = batch(8, size=size)
    outputs = []
    for level in ("pixel", "token"):
        mixer = configured(SPMix(patch_size=patch_size, level=level, probability=0.7), (size, size))
        mixed = mixer(rows, generator())
        with torch.no_grad(), mixer.around(adapter, mixed):
            outputs.append(adapter(mixed))
    return outputs


@pytest.mark.parametrize(
    ("name", "size", "patch_size"),
    [("test_vit", 64, 16), ("test_vit2", 48, 16), ("swin_tiny_patch4_window7_224", 56, 4)],
)
def test_an_affine_patch_embedding_sees_no_difference_between_pixels_and_tokens(name, size, patch_size):
    adapter = network(name, size)
    if "swin" in name:
        adapter.backbone.body.patch_embed.norm = nn.Identity()
    pixel, token = levels(adapter, size, patch_size)
    torch.testing.assert_close(token, pixel, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        unmixed = adapter(batch(8, size=size))
    assert (token - unmixed).abs().max() > 1e-4


def test_a_convolutional_stem_does():
    pixel, token = levels(network("vit_tiny_r_s16_p8_224", 128), 128, 32)
    assert (token - pixel).abs().max() > 1e-3


def test_gradients_reach_both_images_in_proportion_and_not_the_ratio():
    draws = generator()
    own, other = (torch.randn(2, 5, 7, generator=draws, requires_grad=True) for _ in range(2))
    ratio = (0.5 + 0.3 * torch.rand(2, 5, 1, generator=draws)).requires_grad_(False)
    mixed = mix_tokens(own, other, ratio)
    upstream = torch.randn(2, 5, 7, generator=draws)
    mixed.backward(upstream)
    torch.testing.assert_close(own.grad, ratio * upstream)
    torch.testing.assert_close(other.grad, (1 - ratio) * upstream)


def test_gradients_flow_through_the_embedding_of_both_images():
    adapter = network("test_vit", 64)
    mixed = configured(SPMix(patch_size=16, level="token", probability=1.0), (64, 64))(batch(4, size=64), generator())
    ratio = mixed["token_ratio"].permute(0, 2, 3, 1)
    kept: dict[str, torch.Tensor] = {}

    def keep(name):
        def hook(module, given, output):
            output.retain_grad()
            kept[name] = output

        return hook

    embedding = patch_embedding(adapter)
    first = embedding.norm.register_forward_hook(keep("embedded"))
    with mixed_tokens(adapter, mixed["background_image"], mixed["token_ratio"]):
        last = embedding.register_forward_hook(keep("mixed"))
        adapter(mixed).square().sum().backward()
    first.remove(), last.remove()
    labelled, background = kept["embedded"].grad.chunk(2)
    torch.testing.assert_close(labelled, ratio * kept["mixed"].grad)
    torch.testing.assert_close(background, (1 - ratio) * kept["mixed"].grad)
    assert kept["mixed"].grad.abs().max() > 0


def test_the_saliency_gets_no_gradient():
    rows = batch(4, size=64)
    rows["saliency"].requires_grad_()
    mixed = configured(SPMix(patch_size=16, level="token", probability=1.0), (64, 64))(rows, generator())
    assert not mixed["token_ratio"].requires_grad


def test_equal_images_give_their_own_tokens_exactly_and_the_network_is_left_as_it_was():
    adapter = network("test_vit", 64)
    rows = batch(4, size=64)
    ratio = 0.5 + 0.3 * torch.rand(4, 1, 4, 4, generator=generator())
    seen = []
    watch = patch_embedding(adapter).register_forward_hook(lambda m, g, output: seen.append(output))
    hooks = len(patch_embedding(adapter)._forward_hooks)
    with torch.no_grad(), mixed_tokens(adapter, rows[IMAGE], ratio):
        adapter(rows)
    own, again = seen[0].chunk(2)
    assert torch.equal(mix_tokens(own, again, ratio.permute(0, 2, 3, 1)), own)
    with torch.no_grad():
        adapter(rows)
    torch.testing.assert_close(seen[1], own, atol=1e-6, rtol=1e-6)
    assert len(patch_embedding(adapter)._forward_hooks) == hooks
    assert not patch_embedding(adapter)._forward_pre_hooks
    watch.remove()


def test_hooks_are_gone_after_an_error():
    adapter = network("test_vit", 64)
    rows = batch(4, size=64)
    with pytest.raises(RecipeError, match="8 x 8 patches"), mixed_tokens(adapter, rows[IMAGE], torch.ones(4, 1, 8, 8)):
        adapter(rows)
    assert not patch_embedding(adapter)._forward_pre_hooks and not patch_embedding(adapter)._forward_hooks


@pytest.mark.parametrize("shape", [(4, 4, 5), (4, 5, 4, 5), (4, 5, 5, 4)])
def test_another_token_grid_is_refused_in_any_layout(shape):
    from scantling.augment.mixers.tokens import _as_tokens

    with pytest.raises(RecipeError, match="patch_size"):
        _as_tokens(torch.ones(4, 1, 3, 3), torch.zeros(shape), None)


def test_the_ratio_takes_the_layout_of_the_tokens():
    from scantling.augment.mixers.tokens import _as_tokens

    ratio = torch.arange(6.0).view(1, 1, 2, 3)
    assert _as_tokens(ratio, torch.zeros(1, 6, 5), (2, 3)).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert _as_tokens(ratio, torch.zeros(1, 2, 3, 5), None).shape == (1, 2, 3, 1)
    assert _as_tokens(ratio, torch.zeros(1, 5, 2, 3), None).shape == (1, 1, 2, 3)
    with pytest.raises(RecipeError, match="3 x 2"):
        _as_tokens(ratio, torch.zeros(1, 6, 5), (3, 2))


def test_a_network_without_patches_is_refused():
    adapter = network("resnet10t", 32)
    mixer = configured(SPMix(patch_size=8, level="token"))
    mixed = mixer(batch(4), generator())
    with pytest.raises(RecipeError, match="no patch embedding"), mixer.around(adapter, mixed):
        pass


def test_half_precision_tokens_are_mixed_in_single():
    own, other = torch.full((1, 1, 1), 256.0).bfloat16(), torch.full((1, 1, 1), 2.0).bfloat16()
    found = mix_tokens(own, other, torch.tensor([[[0.7123]]]))
    assert found.dtype == torch.bfloat16
    assert found.item() == torch.tensor(0.7123 * 256 + 0.2877 * 2).bfloat16().item()
