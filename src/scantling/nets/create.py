"""Any timm network by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from scantling.core.errors import RecipeError, nearest
from scantling.nets import torchvision_ops  # noqa: F401  (must run before timm imports torchvision)

if TYPE_CHECKING:
    from scantling.core.seams import Inputs


def create(
    name: str, inputs: Inputs, pretrained: bool, drop_path: float = 0.0, native_size: bool = False, **options: Any
) -> nn.Module:
    """A timm network for these inputs; ``img_size`` and ``in_chans`` are passed where the architecture has them.

    With ``native_size`` the size of the inputs is left aside and the network is made as its architecture says.
    """
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        close = nearest(name.split(".")[0], known)
        raise RecipeError(f"timm knows no backbone '{name}'{close}", do="see timm.list_models()")
    options = {"in_chans": inputs.channels, "pretrained": pretrained, **options}
    if drop_path:
        options["drop_path_rate"] = drop_path
    attempts: list[dict[str, Any]] = [{}] if native_size else [{"img_size": inputs.size}, {}]
    for attempt in attempts:
        try:
            return timm.create_model(name, **options, **attempt)
        except TypeError as error:
            if "img_size" not in str(error):
                raise RecipeError(f"'{name}' cannot be built: {error}", do="choose another backbone") from error
        except (OSError, RuntimeError, ValueError) as error:
            if not pretrained:
                reason = _one_line(error)
                raise RecipeError(f"'{name}' cannot be built: {reason}", do="change the image size") from error
            raise RecipeError(
                f"the published weights of '{name}' cannot be fetched ({_one_line(error)})",
                do="connect to the hub, or use weights: none or the path of a bundle",
            ) from error
    raise RecipeError(f"'{name}' cannot be built", do="choose another backbone")


def _one_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160]
