"""Classes by name, from this package only."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from scantling.core.errors import RecipeError, nearest

PACKAGE = "scantling"


def import_object(class_path: str, base: type | None = None) -> Any:
    """The class of this package that ``class_path`` names.

    Args:
        class_path: such as ``scantling.adapt.FullFineTuning``.
        base: class that it must derive from.

    Raises:
        RecipeError: a class outside the package, one that does not exist, or one that does not fit.

    >>> import_object("os.system")
    Traceback (most recent call last):
    ...
    scantling.core.errors.RecipeError: os.system: only classes of scantling can be named; use one of scantling's own
    """
    if class_path.split(".")[0] != PACKAGE or "." not in class_path:
        raise RecipeError("only classes of scantling can be named", where=class_path, do="use one of scantling's own")
    module_name, _, name = class_path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != PACKAGE:
            raise
        raise RecipeError(f"no module '{module_name}'", where=class_path, do="check the name") from error
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        known = [n for n in dir(module) if n[:1].isupper()]
        raise RecipeError(f"no class '{name}' in {module_name}{nearest(name, known)}", do=f"known: {', '.join(known)}")
    if found.__module__.split(".")[0] != PACKAGE:
        raise RecipeError("only classes of scantling can be named", where=class_path, do="use one of scantling's own")
    if base is not None and not issubclass(found, base):
        raise RecipeError(f"is no {base.__name__}", where=class_path, do="name a class that fills this seam")
    return found


def construct(description: dict[str, Any], base: type, *arguments: Any) -> Any:
    """An instance from ``{"class_path", "init_args"}``; ``arguments`` come first.

    Raises:
        RecipeError: see :func:`import_object`, or settings that the class does not know.
    """
    found = import_object(description["class_path"], base)
    settings = description.get("init_args") or {}
    try:
        inspect.signature(found).bind(*arguments, **settings)
    except TypeError as error:
        raise RecipeError(str(error), where=description["class_path"], do="check the settings") from error
    return found(*arguments, **settings)
