"""The report: one file, complete, safe, and honest about what it lacks."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scantling.core.target import make_target
from scantling.metrics import Predictions, evaluate_masks, evaluate_predictions
from scantling.run import report_charts
from scantling.run.report import write_report
from scantling.run.report_content import MaskExample, Mistake, ReportContent
from scantling.run.report_pictures import MASK_COLOURS, as_colour, with_mask, with_saliency
from scantling.run.report_text import render_text

NAMES = ("none", "mild", "moderate", "severe", "proliferative")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a page is made of; complains about tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.tags, self.words = text, [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture(seed: int, size: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size)) / size - 0.5
    disc = (rows**2 + columns**2 < 0.22)[..., None]
    return (disc * rng.uniform(60, 220, 3) + rng.normal(0, 6, (size, size, 3))).clip(0, 255).astype(np.uint8)


def grades(seed: int = 0, n: int = 120) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    scores = labels + rng.normal(0, 0.8, n)
    probabilities = np.exp(-((scores[:, None] - np.arange(5)) ** 2))
    probabilities /= probabilities.sum(1, keepdims=True)
    site = rng.choice(["north", "south"], n)
    return Predictions(make_target("grade", NAMES), labels, probabilities, scores, np.arange(n) // 2, {"site": site})


@pytest.fixture(scope="module")
def evaluation() -> dict:
    return evaluate_predictions(grades(), replicates=200)


@pytest.fixture(scope="module")
def full(evaluation) -> ReportContent:
    rng = np.random.default_rng(0)
    epochs = np.arange(10.0)
    curves = pd.DataFrame(
        {
            "epoch": np.repeat(epochs, 2),
            "train_loss": np.where(np.arange(20) % 2, np.nan, 1.0),
            "val_loss": np.where(np.arange(20) % 2, 1.2, np.nan),
            "val_quadratic_weighted_kappa": np.where(np.arange(20) % 2, np.arange(20) / 40, np.nan),
            "note": "x",
        }
    )
    return ReportContent(
        recipe="dr_grading",
        summary="Grades <b>retinopathy</b> & more.",
        evaluation=evaluation,
        class_counts={"train": dict.fromkeys(NAMES, 40), "test": dict(zip(NAMES, [5, 4, 3, 2, 0], strict=True))},
        thumbnails=[(picture(i), NAMES[i % 5]) for i in range(30)],
        curves=curves,
        mistakes=[Mistake(picture(i), "mild", "severe", 0.71, f"{i}.jpg", rng.random((14, 14))) for i in range(9)],
        meter={"learnable": 2049, "total": 23510081, "peak_bytes": 3 * 2**30, "images": 16, "method": "fake"},
        timing={"train": 3840.0, "evaluate": 6.0},
        versions={"scantling": "0.1.0", "torch": "2.13.0"},
        recipe_yaml="task: grade\nnote: '</pre><script>alert(1)</script>'\n",
        comparison={"Baselines": [{"recipe": "linear", "kappa": {"value": 0.5, "low": 0.4, "high": 0.6}, "n": 7}]},
        created="2026-01-01",
    )


@pytest.fixture(scope="module")
def page(full, tmp_path_factory) -> Page:
    path = write_report(tmp_path_factory.mktemp("report") / "deep" / "report.html", full)
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_asks_for_nothing_from_outside(page):
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    assert "http" not in page.text
    assert "@import" not in page.text
    assert "url(" not in re.sub(r"url\(#\w+\)", "", page.text)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert all(a["href"].startswith("#") for a in page.all("a"))


def test_everything_is_told(page, evaluation):
    figure = evaluation["metrics"]["quadratic_weighted_kappa"]
    for text in (
        "dr_grading",
        "Not a medical device.",
        f"{figure['value']:.3f}",
        f"{figure['low']:.3f}–{figure['high']:.3f}",
        "95 % bootstrap by patient",
        "120 images, 60 patients",
        "north",
        "Worst mistakes",
        "3.0 GiB",
        "1 h 4 min",
        "2.13.0",
        "Baselines",
    ):
        assert text in page.visible, text
    assert len(page.all("svg")) == 6
    assert len(page.all("img")) == 30 + 2 * 9


def test_user_text_is_escaped(page):
    assert "Grades <b>retinopathy</b> & more." in page.visible
    assert "</pre><script>" in page.visible


def test_pictures_and_charts_are_described_and_links_lead_somewhere(page):
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)
    used = set(re.findall(r"url\(#(\w+)\)", page.text)) | set(re.findall(r'xlink:href="#(\w+)"', page.text))
    assert used <= set(ids)


def test_charts_take_their_colours_from_the_page(page):
    svg = "".join(re.findall(r"<svg.*?</svg>", page.text, re.DOTALL))
    assert "var(--series-0)" in svg
    assert "#0102" not in svg
    assert "<text" in svg
    assert "DejaVu" not in svg


def test_no_empty_words_and_a_moderate_size(page):
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", page.visible)
    assert len(page.text) < 3_000_000


def test_the_same_content_gives_the_same_bytes(full, tmp_path):
    one, two = (write_report(tmp_path / name, full).read_bytes() for name in ("a.html", "b.html"))
    assert one == two


def test_what_is_not_given_leaves_no_trace(tmp_path):
    bare = Page(write_report(tmp_path / "bare.html", ReportContent("bare")).read_text(encoding="utf-8"))
    assert not bare.all("section")
    assert not bare.all("svg")
    assert not bare.all("a")
    assert "Not a medical device." in bare.visible


@pytest.mark.parametrize(
    ("part", "section"),
    [
        ("evaluation", "performance"), ("mistakes", "mistakes"), ("recipe_yaml", "provenance"),
        ("thumbnails", "data"), ("curves", "training"), ("meter", "training"), ("comparison", "comparison"),
    ],
)  # fmt: skip
def test_each_part_stands_alone(full, tmp_path, part, section):
    content = ReportContent("alone", **{part: getattr(full, part)})
    page = Page(write_report(tmp_path / "alone.html", content).read_text(encoding="utf-8"))
    assert section in {s["id"] for s in page.all("section")}
    assert "nan" not in page.visible.split()


def test_masks_are_shown_with_their_histogram(tmp_path):
    target = make_target("mask", ["background", "vessel"])
    rng = np.random.default_rng(0)
    found = evaluate_masks(target, {"dice": rng.uniform(0.5, 1, (30, 1)), "hd95": rng.uniform(0, 0.9, (30, 1))})
    truth = rng.integers(0, 2, (300, 300))
    examples = [
        MaskExample(picture(0)[..., :1], truth, 1 - truth, 0.25, "x.png"),
        MaskExample(picture(1), truth, truth),
    ]
    content = ReportContent("unet", evaluation=found, masks=examples)
    page = Page(write_report(tmp_path / "masks.html", content).read_text(encoding="utf-8"))
    assert len(page.all("img")) == 6
    assert len(page.all("svg")) == 2
    assert "Dice 0.250" in page.visible
    assert "vessel" in page.visible


def test_undefined_figures_of_findings_are_dashes(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 2)) < [0.4, 0.0]).astype(float)
    target = make_target("findings", ["$effusion$", "hernia"])
    found = evaluate_predictions(Predictions(target, labels, rng.random((60, 2))), replicates=50)
    page = Page(write_report(tmp_path / "f.html", ReportContent("x", evaluation=found)).read_text(encoding="utf-8"))
    assert "$effusion$" in page.visible
    assert "–" in page.visible
    assert "None" not in page.visible
    assert "undefined" not in render_text(found)


def test_the_terminal_gets_the_same_figures(evaluation):
    text = render_text(evaluation, "test")
    figure = evaluation["metrics"]["quadratic_weighted_kappa"]
    assert text.startswith("test: 120 images, 60 patients; 95 % bootstrap by patient")
    assert f"{figure['value']:.3f}  ({figure['low']:.3f} to {figure['high']:.3f})" in text
    assert "by site (quadratic_weighted_kappa):" in text
    assert "sensitivity" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert text.isascii()


def test_saliency_lights_up_where_it_is_and_masks_tint_their_class_only():
    grey = np.full((64, 64), 100, dtype=np.uint8)
    heat = np.zeros((8, 8))
    heat[1, 6] = 1
    shown = with_saliency(grey, heat).astype(int)
    assert shown.shape == (64, 64, 3)
    row, column = np.unravel_index(shown.sum(2).argmax(), (64, 64))
    assert abs(row - 12) <= 4
    assert abs(column - 52) <= 4
    mask = np.zeros((64, 64), dtype=int)
    mask[20:40, 20:40], mask[:5] = 2, 255
    tinted = with_mask(grey, mask)
    changed = (tinted != as_colour(grey)).any(2)
    assert (changed == (mask == 2)).all()
    edge = np.abs(tinted[20, 30] - MASK_COLOURS[1]).max()
    assert edge < np.abs(tinted[30, 30] - MASK_COLOURS[1]).max()


def test_a_page_is_whole_or_absent(full, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: object) -> str:
        raise RuntimeError("drawing failed")

    monkeypatch.setattr(report_charts, "class_balance", fail)
    with pytest.raises(RuntimeError):
        write_report(path, full)
    assert path.read_text() == "old"
    assert list(Path(tmp_path).iterdir()) == [path]
