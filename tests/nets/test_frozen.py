"""Frozen networks: one memory for all users, known by a hash, found again, resampled to another size."""

import gc

import pytest
import torch
from safetensors.torch import save_file

from scantling.core.bundle import write_bundle
from scantling.core.errors import BundleError
from scantling.core.frozen import kept_place, weights_hash
from scantling.core.seams import Inputs
from scantling.nets.create import create
from scantling.nets.frozen import bundle_backbone, find_frozen, frozen_body, own, published_parameters

VIT = "test_vit"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCANTLING_CACHE", str(tmp_path / "cache"))


def bundle(folder, state, **meta):
    folder.mkdir()
    write_bundle(folder, meta, {f"adapter.backbone.body.{k}": v for k, v in state.items()}, "card")
    return folder


def trained(seed=3, size=160):
    torch.manual_seed(seed)
    return create(VIT, Inputs((size, size)), pretrained=False, num_classes=0).eval()


def test_all_users_in_a_process_share_the_memory_of_one_network(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    first, again = find_frozen(VIT, str(place)), find_frozen(VIT, str(place))
    one, two = frozen_body(first, Inputs((160, 160))), frozen_body(again, Inputs((96, 64)))
    assert first is again
    assert one.blocks[0].attn.qkv.weight.data_ptr() == two.blocks[0].attn.qkv.weight.data_ptr()
    assert not any(p.requires_grad for p in one.parameters())


def test_the_same_tensors_from_two_places_are_one_network(tmp_path):
    state = trained().state_dict()
    here, there = bundle(tmp_path / "a", state), bundle(tmp_path / "b", state)
    assert find_frozen(VIT, str(here)) is find_frozen(VIT, str(there))


def test_memory_is_given_back_when_nobody_uses_the_network(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    pointer = id(find_frozen(VIT, str(place)))
    gc.collect()
    from scantling.nets.frozen import _known

    assert not any(id(f) == pointer for f in _known.values())


def test_a_body_computes_what_the_trained_network_computes(tmp_path):
    body = trained()
    place = bundle(tmp_path / "b", body.state_dict())
    images = torch.rand(2, 3, 160, 160)
    assert torch.equal(frozen_body(find_frozen(VIT, str(place)), Inputs((160, 160)))(images), body(images))


def test_positions_are_resampled_as_timm_does_it(tmp_path):
    from timm.layers import resample_abs_pos_embed

    body = trained()
    place = bundle(tmp_path / "b", body.state_dict())
    other = frozen_body(find_frozen(VIT, str(place)), Inputs((96, 224)))
    expected = resample_abs_pos_embed(body.pos_embed, [6, 14], [10, 10], num_prefix_tokens=body.num_prefix_tokens)
    assert torch.equal(other.pos_embed, expected)


def test_the_hash_tells_apart_values_names_shapes_and_types():
    a = {"w": torch.arange(4.0), "v": torch.zeros(2)}
    others = [
        {**a, "w": torch.tensor([0.0, 1.0, 2.0, 3.5])},
        {"u": a["w"], "v": a["v"]},
        {**a, "w": a["w"].view(2, 2)},
        {**a, "w": a["w"].to(torch.float64)},
    ]
    assert weights_hash(a) == weights_hash(dict(reversed(a.items())))
    assert len({weights_hash(s) for s in [a, *others]}) == 5


def test_a_network_is_found_by_its_hash_in_the_cache(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    frozen = find_frozen(VIT, str(place))
    assert frozen.keep() == kept_place(frozen.hash) and frozen.keep().is_file()
    wanted, weight = frozen.hash, frozen.state["norm.weight"].clone()
    del frozen
    gc.collect()
    found = find_frozen(VIT, f"frozen:{wanted}:/gone")
    assert found.hash == wanted and torch.equal(found.state["norm.weight"], weight)


def test_another_network_at_its_place_is_refused_with_one_line(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    wanted = find_frozen(VIT, str(place)).hash
    gc.collect()
    (tmp_path / "b" / "model.safetensors").unlink()
    save_file(
        {f"adapter.backbone.body.{k}": v for k, v in trained(4).state_dict().items()},
        tmp_path / "b" / "model.safetensors",
    )
    with pytest.raises(BundleError, match=f"{wanted[:12]}.* is not here; .* holds another one") as error:
        find_frozen(VIT, f"frozen:{wanted}:{place}")
    assert "\n" not in str(error.value)


def test_a_cached_file_that_was_changed_is_refused(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    frozen = find_frozen(VIT, str(place))
    path, wanted = frozen.keep(), frozen.hash
    save_file({k: v.clone() + 1 for k, v in frozen.state.items()}, path)
    del frozen
    gc.collect()
    with pytest.raises(BundleError, match="does not match its name"):
        find_frozen(VIT, f"frozen:{wanted}")


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first = find_frozen(VIT, "none").hash
    gc.collect()
    assert find_frozen(VIT, "none").hash == first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_bundle_of_a_learned_part_gives_the_whole_backbone(tmp_path):
    base = bundle(tmp_path / "base", trained().state_dict())
    frozen = find_frozen(VIT, str(base))
    changed = torch.full_like(frozen.state["norm.bias"], 2.0)
    part = bundle(tmp_path / "part", {"norm.bias": changed}, frozen=frozen.to_json())
    state, _ = bundle_backbone(str(part))
    assert state.keys() == frozen.state.keys()
    assert torch.equal(state["norm.bias"], changed) and torch.equal(state["norm.weight"], frozen.state["norm.weight"])


def test_a_learned_part_with_tensors_of_its_own_is_no_backbone(tmp_path):
    base = bundle(tmp_path / "base", trained().state_dict())
    part = bundle(tmp_path / "part", {"lora": torch.zeros(2)}, frozen=find_frozen(VIT, str(base)).to_json())
    with pytest.raises(BundleError, match="adds tensors"):
        bundle_backbone(str(part))


def test_own_parts_only_what_learns(tmp_path):
    place = bundle(tmp_path / "b", trained().state_dict())
    frozen = find_frozen(VIT, str(place))
    body = frozen_body(frozen, Inputs((160, 160)))
    body.norm.weight.requires_grad_(True)
    own(body)
    assert body.norm.weight.data_ptr() != frozen.state["norm.weight"].data_ptr()
    assert body.norm.bias.data_ptr() == frozen.state["norm.bias"].data_ptr()


def test_nothing_is_made_on_the_meta_device():
    with torch.device("meta"):
        body = frozen_body(find_frozen("vit_base_patch16_384", "hub"), Inputs((512, 512)))
    assert all(p.is_meta for p in body.parameters())


def test_published_sizes_of_the_large_network():
    assert published_parameters("vit_base_patch16_384") == (86_859_496, 86_090_496)
    assert published_parameters("vit_large_patch16_384")[0] == 304_715_752
