"""Properties of the prompts' attention and of the fusion module (sheets: fpt, fpt_plus)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scantling.adapt.fpt import prompt_attention as module
from scantling.adapt.fpt.features import stored
from scantling.adapt.fpt.fusion import FinePrompts
from scantling.adapt.fpt.prompt_attention import prompt_attention
from scantling.core.errors import RecipeError

B, L, H, P, T, DH, D = 5, 3, 4, 6, 21, 16, 24


def features(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, B, L, H, T, DH, generator=g, dtype=torch.float64).to(dtype))


def asking(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(L, H, P, DH, generator=torch.Generator().manual_seed(9), dtype=dtype).requires_grad_()


def plainly(queries, keys, values):
    """The same by plain operations, gradient by autograd."""
    attention = (queries @ keys.transpose(-2, -1) / DH**0.5).softmax(-1)
    return (attention @ values).transpose(2, 3).flatten(3)


def fusion(kind: str = "fpt+", prompts: int = P, **settings) -> FinePrompts:
    torch.manual_seed(0)
    own = {"fpt+": ("frozen", "before"), "fpt": ("side", "after")}[kind]
    settings = {"prompt_width": own[0], "residual": own[1], **settings}
    return FinePrompts(L, H, DH, D, prompts, **settings).eval()


@pytest.mark.parametrize("piece_bytes", [1, 20_000, 1 << 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_and_gradient_agree_with_plain_autograd(dtype, piece_bytes, monkeypatch):
    monkeypatch.setitem(module.PIECE_BYTES, "cpu", piece_bytes)
    keys, values = features(dtype=dtype)
    weights = torch.randn(B, L, P, H * DH, generator=torch.Generator().manual_seed(1), dtype=dtype)
    results = []
    for function in (prompt_attention, plainly):
        queries = asking(dtype)
        out = function(queries, keys, values)
        (out * weights).sum().backward()
        results.append((out.detach(), queries.grad))
    tolerance = {"atol": 1e-6, "rtol": 1e-6} if dtype == torch.float32 else {"atol": 1e-12, "rtol": 1e-10}
    torch.testing.assert_close(results[0][0], results[1][0], **tolerance)
    # A gradient sums B * T products, whose rounding in float32 is that much larger.
    torch.testing.assert_close(results[0][1] / B, results[1][1] / B, **tolerance)


def test_gradcheck_in_double_precision():
    keys, values = features(dtype=torch.float64)
    queries = asking(torch.float64)
    assert torch.autograd.gradcheck(lambda q: prompt_attention(q, keys[:2, :, :, :5], values[:2, :, :, :5]), queries)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_rounded_features_give_what_their_rounded_numbers_give(dtype):
    parts, exact = [], []
    for tensor in features():
        kept, scales = stored(tensor, dtype)
        parts.append((kept, scales))
        exact.append(kept.float() if scales is None else kept.float() * scales[..., None, None])
    results = []
    for function, arguments in (
        (prompt_attention, (parts[0][0], parts[1][0], parts[0][1], parts[1][1])), (plainly, exact)
    ):  # fmt: skip
        queries = asking()
        out = function(queries, *arguments)
        out.square().sum().backward()
        results.append((out.detach(), queries.grad))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


def test_keys_and_values_are_kept_for_the_backward_pass_as_they_are_stored():
    keys, values = features(dtype=torch.float16)
    held = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.setdefault((t.data_ptr(), t.shape), t), lambda t: t):
        out = prompt_attention(asking(), keys, values)
    places = {place for place, _ in held}
    assert {keys.data_ptr(), values.data_ptr()} <= places
    others = [t for t in held.values() if t.data_ptr() not in {keys.data_ptr(), values.data_ptr()}]
    assert sum(t.numel() for t in others) == B * L * H * P * T + L * H * P * DH  # the attention, and the queries
    out.sum().backward()


def test_only_the_queries_get_a_gradient_and_autocast_changes_nothing():
    keys, values = (t.requires_grad_() for t in features())
    out = prompt_attention(asking(), keys, values)
    out.sum().backward()
    assert keys.grad is None and values.grad is None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompt_attention(asking(), keys, values), out)
    with torch.no_grad():
        assert torch.equal(prompt_attention(asking(), keys, values), out)


@pytest.mark.parametrize("kind", ["fpt", "fpt+"])
def test_the_order_of_the_tokens_does_not_matter(kind):
    net, (keys, values) = fusion(kind), features()
    with torch.no_grad():
        net.prompts.normal_(generator=torch.Generator().manual_seed(3))
    order = torch.randperm(T, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(net(keys[:, :, :, order], values[:, :, :, order]), net(keys, values), atol=1e-6, rtol=0)
    assert (net(keys[:, :, :, order], values) - net(keys, values)).abs().max() > 1e-3


def test_the_forward_pass_is_the_formula_of_the_sheets():
    keys, values = features()
    for kind in ("fpt", "fpt+"):
        net = fusion(kind)
        with torch.no_grad():
            net.prompts.normal_(generator=torch.Generator().manual_seed(3))
        out = net(keys, values)
        for block in range(L):
            prompts = net.prompts[block]
            lifted = net.to_queries(prompts)
            query = lifted.view(P, H, DH).transpose(0, 1).expand(B, H, P, DH)
            found = F.scaled_dot_product_attention(query, keys[:, block], values[:, block])
            found = found.transpose(1, 2).reshape(B, P, H * DH)
            wanted = net.out(found + prompts) if kind == "fpt+" else net.out(found) + prompts
            torch.testing.assert_close(out[:, block], wanted, atol=1e-5, rtol=1e-5)
        assert isinstance(net.to_queries, nn.LayerNorm if kind == "fpt+" else nn.Linear)


def test_fpt_plus_begins_with_the_mean_of_the_values():
    net, (keys, values) = fusion(prompts=16), features()
    queries = net.to_queries(net.prompts).unflatten(2, (H, -1)).transpose(1, 2)
    attention = (queries @ keys.transpose(-2, -1) / DH**0.5).softmax(-1)
    assert (attention - 1 / T).abs().max() < 1e-4
    out = net(keys, values)
    assert (out - out.mean(2, keepdim=True)).abs().max() < 1e-3
    mean = values.mean(3).flatten(2)
    torch.testing.assert_close(out, net.out(mean)[:, :, None].expand_as(out), atol=1e-3, rtol=0)


def test_fpt_begins_with_equal_prompts_but_not_with_uniform_attention():
    net, (keys, values) = fusion("fpt", prompts=16), features()
    out = net(keys, values)
    assert (out - out.mean(2, keepdim=True)).abs().max() < 1e-4
    queries = net.to_queries(net.prompts).unflatten(2, (H, -1)).transpose(1, 2)
    attention = (queries @ keys.transpose(-2, -1) / DH**0.5).softmax(-1)
    assert (attention - 1 / T).abs().max() > 1e-4


def test_without_values_only_bias_and_residual_are_left():
    keys, values = features()
    nothing = torch.zeros_like(values)
    net = fusion("fpt")
    with torch.no_grad():
        net.prompts.normal_(generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(net(keys, nothing), (net.out.bias + net.prompts).expand(B, L, P, D))
    bare = fusion("fpt", residual="none")
    torch.testing.assert_close(bare(keys, nothing), bare.out.bias.expand(B, L, P, D))
    wide = fusion("fpt+", residual="none")
    torch.testing.assert_close(wide(keys, nothing), wide.out.bias.expand(B, L, P, D))


@pytest.mark.parametrize("kind", ["fpt", "fpt+"])
def test_the_queries_are_made_once_for_all_images(kind):
    net, seen = fusion(kind), []
    net.to_queries.register_forward_hook(lambda m, given, out: seen.append(tuple(given[0].shape)))
    net(*features())
    assert seen == [tuple(net.prompts.shape)]


def test_a_block_reads_its_own_features_only():
    net, (keys, values) = fusion(), features()
    other_keys, other_values = features(seed=7)
    changed_keys, changed_values = keys.clone(), values.clone()
    changed_keys[:, 1], changed_values[:, 1] = other_keys[:, 1], other_values[:, 1]
    moved = (net(changed_keys, changed_values) - net(keys, values)).abs().amax((0, 2, 3))
    assert moved[1] > 1e-3 and moved[0] == 0 and moved[2] == 0


@pytest.mark.parametrize("kind", ["fpt", "fpt+"])
def test_every_tensor_gets_a_gradient_at_the_first_step(kind):
    net = fusion(kind).train()
    (net(*features()) * torch.randn(B, L, P, D, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_dropout_separates_the_prompts():
    net = fusion().train()
    torch.manual_seed(0)
    out = net(*features())
    assert (out == 0).float().mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("width", "residual"), [("frozen", "after"), ("side", "before"), ("wide", "none"), ("side", "x")]
)
def test_settings_that_do_not_fit_are_refused(width, residual):
    with pytest.raises(RecipeError):
        FinePrompts(L, H, DH, D, P, width, residual)
