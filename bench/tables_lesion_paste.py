"""The table of the page of LesionPaste, from bench/results/lesion_paste_speed.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]


def lesion_paste_speed_lines(content: Mapping[str, Any], table: Table) -> Iterator[str]:
    """Images a second of the batched synthesis and of loops over images and lesions."""
    rates = content["images_per_second"]
    names = {
        "batched": "here, a batch at once",
        "loop": "a loop that looks for the field of view",
        "loop_with_known_fields": "a loop that is told the field of view",
    }
    rows = [[names[n], f"{rate:,.0f}", f"{rates['batched'] / rate:.1f}"] for n, rate in rates.items()]
    yield from table(["synthesis", "images a second", "batched is faster by"], rows)
    where = content["machine"]["processor"] + ", one thread" if content["device"] == "cpu" else content["device"]
    yield (
        f"{content['size']} px, batches of {content['batch']}, median of {content['rounds']}; the loops do the same "
        f"with NumPy, SciPy and Pillow, lesion by lesion. {where}; `python bench/lesion_paste_speed.py`."
    )
    yield ""
