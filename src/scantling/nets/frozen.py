"""Frozen networks: pretrained weights that many adapted models stand on, known by a hash and in memory once.

A bundle of an adapted model holds only what learned, and the name and hash of the network below. That network is found
again in this process, in the cache (``<cache>/frozen/<hash>.safetensors``), or where it first came from.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scantling.core.bundle import find_bundle, read_bundle
from scantling.core.errors import BundleError
from scantling.core.frozen import Frozen, kept_place, weights_hash
from scantling.nets.create import create

if TYPE_CHECKING:
    from scantling.core.seams import Inputs

BY_HASH = "frozen:"
"""Begins ``weights`` that name a network by its hash: ``frozen:<hash>``, or ``frozen:<hash>:<where it came from>``."""

_known: weakref.WeakValueDictionary[tuple[str, str, int, str], Frozen] = weakref.WeakValueDictionary()


def find_frozen(name: str, weights: str, channels: int = 3, device: str | torch.device = "cpu") -> Frozen:
    """A frozen network; the same object, and the same memory, as long as anybody in the process uses it.

    Args:
        name: timm architecture.
        weights: ``hub``, ``none`` (random, always the same), the path of a bundle or run folder with this backbone, or
            ``frozen:<hash>``.
        channels: 1 or 3.
        device: where its tensors are.

    Raises:
        RecipeError: an unknown architecture, or hub weights that cannot be fetched.
        BundleError: a bundle with another backbone, a hash that is known nowhere, or weights that do not match it.
    """
    if torch.empty(0).is_meta:
        return Frozen(name, weights, "", channels, {})
    place = str(torch.device(device))
    key = (name, weights, channels, place)
    found = _known.get(key)
    if found is None:
        base = _load(name, weights, channels)
        same = (name, BY_HASH + base.hash, channels, place)
        found = _known.get(same) or _moved(base, torch.device(device))
        _known[key] = _known[same] = found
    return found


def frozen_body(frozen: Frozen, inputs: Inputs, **options: Any) -> nn.Module:
    """A timm network without classifier that computes with the tensors of a frozen one, in evaluation mode.

    Its parameters share the memory of ``frozen.state``, and ask for no gradient. A table of positions is resampled to
    the size of ``inputs`` where it was made for another one. Under ``torch.device("meta")`` it holds no numbers.

    Args:
        frozen: the network.
        inputs: size and channels of the images.
        options: further arguments of ``timm.create_model``.

    Raises:
        BundleError: tensors that fit the architecture at no size.
    """
    with torch.device("meta"):
        body = create(frozen.name, inputs, pretrained=False, num_classes=0, **options)
    kept = body.state_dict()
    if frozen.hash and any(name not in kept for name, _ in body.named_buffers()):
        # Tables that are computed and not kept, such as rotary embeddings, exist only in a network built for real.
        body = create(frozen.name, inputs, pretrained=False, num_classes=0, **options)
    if frozen.hash:
        body.load_state_dict(fitted(frozen.state, body, frozen.source), assign=True)
    return body.requires_grad_(False).eval()


def fitted(state: Mapping[str, Tensor], body: nn.Module, where: object) -> dict[str, Tensor]:
    """The tensors that ``body`` needs out of ``state``, with tables of positions resampled to its grid.

    Raises:
        BundleError: a tensor that is missing or of another shape.
    """
    found, wrong = {}, []
    for name, own in body.state_dict().items():
        given = state.get(name)
        if given is not None and given.shape != own.shape and name.endswith(("pos_embed", "pos_embed.weight")):
            given = _resampled(given, own.shape, body, state)
        if given is None or given.shape != own.shape:
            wrong.append(name)
        else:
            found[name] = given
    if wrong:
        raise BundleError(
            f"its backbone does not fit: {len(wrong)} of {len(body.state_dict())} tensors differ, first '{wrong[0]}'",
            where=where,
            do="use the architecture that it was trained with",
        )
    return found


def bundle_backbone(weights: str) -> tuple[dict[str, Tensor], str]:
    """The backbone's tensors of a bundle or run folder, whole even where it keeps only what learned, and its folder.

    Raises:
        BundleError: no bundle there, or one without a backbone; a network below it that cannot be found.
    """
    folder = find_bundle(weights)
    files = read_bundle(folder)
    below = files.meta.get("frozen")
    state = {k.split("body.", 1)[1]: v for k, v in files.state.items() if "body." in k}
    if below:
        base = find_frozen(below["backbone"], f"{BY_HASH}{below['hash']}:{below['source']}")
        added = sorted(state.keys() - base.state.keys())
        if added:
            raise BundleError(
                f"it adds tensors to its backbone, such as '{added[0]}', and cannot be one itself",
                where=folder,
                do="give the bundle of the network below it",
            )
        state = {**base.state, **state}
    if not state:
        raise BundleError("it holds no backbone", where=folder, do="give a bundle of a trained backbone")
    return state, str(folder.resolve())


def own(module: nn.Module) -> None:
    """Give parameters that learn memory of their own, so that training never writes into a frozen network."""
    for parameter in module.parameters():
        if parameter.requires_grad and not parameter.is_meta:
            parameter.data = parameter.data.clone()


@lru_cache(maxsize=8)
def published_parameters(name: str) -> tuple[int, int]:
    """Parameters of an architecture as timm publishes it, with its classifier and without.

    >>> published_parameters("vit_base_patch16_384")
    (86859496, 86090496)
    """
    import timm

    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False)
        with_classifier = sum(p.numel() for p in model.parameters())
        model.reset_classifier(0)
    return with_classifier, sum(p.numel() for p in model.parameters())


def _load(name: str, weights: str, channels: int) -> Frozen:
    if weights.startswith(BY_HASH):
        wanted, _, source = weights.removeprefix(BY_HASH).partition(":")
        return _by_hash(name, wanted, source, channels)
    if weights in {"hub", "none"}:
        state, origin = _published(name, channels, weights == "hub"), weights
    else:
        state, origin = bundle_backbone(weights)
    return Frozen(name, origin, weights_hash(state), channels, state)


def _by_hash(name: str, wanted: str, source: str, channels: int) -> Frozen:
    """From the cache, or from where it came from, if that still holds the very same tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = kept_place(wanted)
    if path.is_file():
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise BundleError(f"damaged ({error})", where=path, do="remove it and fetch the network again") from error
        if weights_hash(state) == wanted:
            return Frozen(name, source or str(path), wanted, channels, state)
        raise BundleError("its content does not match its name", where=path, do="remove it")
    tried = ""
    if source in {"hub", "none"} or (source and Path(source).exists()):
        found = _load(name, source, channels)
        if found.hash == wanted:
            return found
        tried = f"; {source} holds another one ({found.hash[:12]})"
    raise BundleError(
        f"the frozen network '{name}' ({wanted[:12]}) that it stands on is not here{tried}",
        where=source or path,
        do=f"copy {path.name} from the machine that trained it into {path.parent}",
    )


def _published(name: str, channels: int, pretrained: bool) -> dict[str, Tensor]:
    """The tensors of an architecture at its own size: of the hub, or random ones that are always the same."""
    from scantling.core.seams import Inputs

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = create(name, Inputs(channels=channels), pretrained, native_size=True, num_classes=0)
    return {name: tensor.detach() for name, tensor in body.state_dict().items()}


def _moved(frozen: Frozen, device: torch.device) -> Frozen:
    if device.type == "cpu":
        return frozen
    state = {k: v.to(device) for k, v in frozen.state.items()}
    return Frozen(frozen.name, frozen.source, frozen.hash, frozen.channels, state)


def _resampled(table: Tensor, shape: torch.Size, body: nn.Module, state: Mapping[str, Tensor]) -> Tensor | None:
    """A table of positions ``(1, prefix + h*w, D)`` for the grid of ``body``, bicubic; None where it cannot be one."""
    from timm.layers import resample_abs_pos_embed

    grid = getattr(getattr(body, "patch_embed", None), "grid_size", None)
    if table.ndim != 3 or grid is None or table.shape[-1] != shape[-1]:
        return None
    prefix = shape[1] - grid[0] * grid[1]
    tokens = table.shape[1] - prefix
    side = round(tokens**0.5)
    if prefix < 0 or side * side != tokens:
        return None
    return resample_abs_pos_embed(table, list(grid), [side, side], num_prefix_tokens=prefix)
