"""Properties of the taps: what comes out is what the network's own attention used, and nothing more is computed."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.attention_taps import architecture, attention_received, geometry, number_of_blocks, tap
from scantling.nets.create import create

TRANSFORMERS = [
    ("test_vit", (64, 96)),
    ("deit_tiny_distilled_patch16_224", (64, 64)),
    ("vit_small_patch14_reg4_dinov2", (56, 84)),
    ("vit_small_patch16_dinov3", (64, 96)),
    ("eva02_tiny_patch14_224", (56, 56)),
    ("vit_relpos_small_patch16_224", (64, 64)),
    ("vit_srelpos_small_patch16_224", (64, 64)),
    ("vit_tiny_r_s16_p8_224", (64, 64)),
]


def every(importance: torch.Tensor, block: int) -> torch.Tensor:
    """All tokens, in order."""
    return torch.arange(importance.shape[-1]).expand(importance.shape)


def network(name: str, size: tuple[int, int]) -> nn.Module:
    torch.manual_seed(0)
    return create(name, Inputs(size=size), pretrained=False, num_classes=0).eval()


def images(size: tuple[int, int], count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "size"), TRANSFORMERS)
def test_taps_are_what_the_attention_of_the_network_used(name, size):
    """Against timm's own unfused attention, which has the matrix and its product with the values as tensors."""
    body, batch = network(name, size), images(size)
    measures = architecture(name, size)
    block, seen, importance = measures.blocks // 2, {}, {}
    attention = body.blocks[block].attn
    attention.fused_attn = False
    handles = [
        attention.attn_drop.register_forward_hook(lambda m, given, out: seen.update(matrix=out)),
        attention.proj.register_forward_pre_hook(lambda m, given: seen.update(mixed=given[0])),
    ]
    with torch.no_grad():
        body.forward_features(batch)
    for handle in handles:
        handle.remove()

    def select(received, number):
        importance[number] = received
        return every(received, number)

    keys, values, _ = tap(body, batch, [0, block, measures.blocks - 1], select)
    assert keys.shape == values.shape == (2, 3, measures.heads, measures.tokens, measures.head_dim)
    torch.testing.assert_close(importance[block], seen["matrix"].mean(-2), atol=1e-6, rtol=1e-4)
    mixed = (seen["matrix"] @ values[:, 1]).transpose(1, 2).flatten(2)
    if isinstance(getattr(attention, "norm", None), nn.LayerNorm):
        mixed = attention.norm(mixed)
    torch.testing.assert_close(mixed, seen["mixed"], atol=1e-4, rtol=1e-3)
    only_last = tap(body, batch, [measures.blocks - 1], every)
    torch.testing.assert_close(only_last.keys[:, 0], keys[:, 2], atol=1e-4, rtol=1e-3)


def test_keys_and_values_of_a_plain_transformer_are_its_linear_maps():
    body, batch = network("test_vit", (64, 64)), images((64, 64))
    seen = []
    handle = body.blocks[3].attn.qkv.register_forward_hook(lambda m, given, out: seen.append(out))
    with torch.no_grad():
        body.forward_features(batch)
    handle.remove()
    _, keys, values = seen[0].unflatten(2, (3, 2, 32)).permute(2, 0, 3, 1, 4)
    for blocks in ([3], [3, 5]):
        found = tap(body, batch, blocks, every)
        torch.testing.assert_close(found.keys[:, 0], keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.values[:, 0], values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", [None, "bias of heads", "bias of images", "forbidden"])
@pytest.mark.parametrize("chunk_bytes", [1, 3000, 1 << 30])
def test_received_attention_is_the_column_mean_of_the_softmax_at_any_chunk_size(mask, chunk_bytes):
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 3, 2, 17, 8, generator=g)
    added = {
        None: None,
        "bias of heads": torch.randn(1, 2, 17, 17, generator=g),
        "bias of images": torch.randn(3, 1, 1, 17, generator=g),
        "forbidden": torch.rand(17, 17, generator=g) < 0.7,
    }[mask]
    output, received = attention_received(q, k, v, added, 0.3, chunk_bytes)
    logits = 0.3 * q @ k.transpose(-2, -1)
    if mask == "forbidden":
        logits = logits.masked_fill(~added, -torch.inf)
    elif added is not None:
        logits = logits + added
    matrix = logits.softmax(-1)
    torch.testing.assert_close(received, matrix.mean(-2), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output, matrix @ v, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(received.sum(-1), torch.ones(3, 2))


class Calls(TorchFunctionMode):
    """Counts the fused kernels that run."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func is F.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def test_nothing_is_computed_past_the_keys_of_the_last_tapped_block():
    body, batch = network("test_vit", (64, 64)), images((64, 64))
    ran = []
    for name, module in body.named_modules():
        module.register_forward_hook(lambda m, given, out, name=name: ran.append(name))
    with Calls() as fused:
        tap(body, batch, [1, 3], every)
    assert fused.count == 2  # blocks 0 and 2; the tapped ones compute their own
    assert "blocks.3.attn.qkv" in ran and "blocks.1.mlp.fc2" in ran and "blocks.2.mlp.fc2" in ran
    late = ("blocks.3.attn.proj", "blocks.3.norm2", "blocks.3.mlp", "blocks.4", "blocks.5", "head")
    assert not [name for name in ran if name.startswith(late) or name in {"norm", "blocks.3", "blocks.3.attn"}]


class Largest(TorchDispatchMode):
    """The most elements that any result has."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        found = [t.numel() for t in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(t, torch.Tensor)]
        self.elements = max([self.elements, *found])
        return out


def test_the_whole_attention_matrix_is_never_held():
    size = (320, 320)
    body, batch = network("test_vit", size), images(size)
    tokens, widest = 401, 2 * 401 * 64 * 4  # the hidden layer of the MLP
    assert architecture("test_vit", size).tokens == tokens
    with Largest() as small:
        tap(body, batch, [0, 1], lambda i, b: every(i, b)[..., :10], chunk_bytes=1 << 18)
    with Largest() as large:
        tap(body, batch, [0, 1], lambda i, b: every(i, b)[..., :10], chunk_bytes=1 << 30)
    assert large.elements == 2 * 2 * tokens * tokens > 2 * widest
    assert small.elements < 2 * batch.numel()


def test_the_class_token_rule_reads_the_first_row_and_none_reads_nothing():
    body, batch = network("test_vit", (64, 64)), images((64, 64))
    found = {}

    def select(received, block, queries):
        found[queries, block] = received
        return every(received, block)

    taps = {queries: tap(body, batch, [2, 3], partial(select, queries=queries), queries) for queries in (
        "all", "class_token", "none")}  # fmt: skip
    rows = []
    body.blocks[2].attn.fused_attn = False
    body.blocks[2].attn.attn_drop.register_forward_hook(lambda m, given, out: rows.append(out[:, :, 0]))
    with torch.no_grad():
        body.forward_features(batch)
    torch.testing.assert_close(found["class_token", 2], rows[0], atol=1e-6, rtol=1e-4)
    assert not found["none", 2].any() and found["all", 2].sum() > 0
    for queries in ("class_token", "none"):
        torch.testing.assert_close(taps[queries].keys, taps["all"].keys, atol=1e-5, rtol=1e-4)


def test_selected_tokens_are_gathered_head_by_head():
    body, batch = network("test_vit", (64, 64)), images((64, 64))
    whole = tap(body, batch, [4], every)
    chosen = torch.tensor([[[0, 5, 9], [1, 5, 16]], [[2, 3, 4], [7, 8, 15]]])
    some = tap(body, batch, [4], lambda importance, block: chosen)
    assert torch.equal(some.indices[:, 0], chosen)
    for i in range(2):
        for h in range(2):
            assert torch.equal(some.keys[i, 0, h], whole.keys[i, 0, h, chosen[i, h]])
            assert torch.equal(some.values[i, 0, h], whole.values[i, 0, h, chosen[i, h]])


def test_it_needs_no_gradient_works_in_inference_mode_and_leaves_the_network_as_it_was():
    body, batch = network("test_vit", (64, 64)), images((64, 64))
    before = tap(body, batch, [1, 2], every)
    assert not before.keys.requires_grad
    for block in body.blocks:
        block.attn.fused_attn = False
    with torch.inference_mode():
        after = tap(body, batch, [1, 2], every)
    assert torch.equal(before.keys, after.keys)
    assert not any(block.attn.fused_attn for block in body.blocks)
    with pytest.raises(ZeroDivisionError):
        tap(body, batch, [1], lambda importance, block: importance / (1 // 0))
    with Calls() as fused, torch.no_grad():
        body.forward_features(batch)
    assert fused.count == 0


def test_geometry_agrees_on_the_meta_device_and_for_real():
    body = network("test_vit3", (64, 96))
    assert geometry(body, images((64, 96))) == architecture("test_vit3", (64, 96))
    assert number_of_blocks(body) == 9
    assert architecture("vit_base_patch16_384", (512, 512))[:5] == (12, 768, 12, 64, 1025)
    assert architecture("vit_large_patch16_384", (384, 384))[:5] == (24, 1024, 16, 64, 577)
    assert architecture("vit_base_patch16_384", (224, 448)).tokens == 1 + 14 * 28
    assert not architecture("vit_relpos_small_patch16_224", (64, 64)).class_token


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "swin_tiny_patch4_window7_224", "xcit_nano_12_p16_224"])
def test_other_networks_are_refused_with_their_name(name):
    with pytest.raises(RecipeError, match=f"'{name}' does not attend once a block over all its tokens"):
        architecture(name, (224, 224))


@pytest.mark.parametrize("blocks", [[], [-1, 2], [3, 2], [1, 1], [5, 6]])
def test_blocks_that_are_not_there_are_refused(blocks):
    with pytest.raises(RecipeError):
        tap(network("test_vit", (64, 64)), images((64, 64)), blocks, every)
