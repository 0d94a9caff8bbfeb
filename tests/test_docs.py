"""The documentation: links resolve, commands parse, code runs, nothing that exists is left out."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import types
from functools import cache
from pathlib import Path

import pytest
import yaml

from scantling.augment.policy import PolicySpec
from scantling.data import layouts
from scantling.data.manifest import COLUMNS
from scantling.faces.commands import COMMANDS
from scantling.metrics.table import METRICS
from scantling.run.recipe import read, recipe_files, resolve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.rglob("*.md"))
GENERATED = ("cli.md", "options.md")
HEAVIEST_PICTURE = 300_000


def label(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    from markdown.extensions.toc import slugify

    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S), re.MULTILINE)
    return {slugify(re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", head), "-") for head in heads}


def commands(page: Path) -> list[list[str]]:
    """The words behind ``scantling`` of every command in a page's shell blocks."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1 : w.index(">") if ">" in w else None] for w in words if w[:1] == ["scantling"]]


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{target}: no such heading"


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r"[\w/-]+\.md", json.dumps(site["nav"])))
    generated = {p.relative_to(DOCS).as_posix() for p in DOCS.glob("methods/*_tables.md")}
    assert site["not_in_nav"] == "methods/*_tables.md"
    assert {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")} - generated == named


def test_pictures_are_small_and_used() -> None:
    everything = "".join(map(text_of, PAGES))
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < HEAVIEST_PICTURE, picture.name
        assert picture.name in everything, picture.name


def test_recipes_layouts_columns_and_metrics_are_documented() -> None:
    assert recipe_files().keys() <= set(re.findall(r"^\| `(\w+)`", text_of(DOCS / "recipes.md"), re.MULTILINE))
    assert all(f"`{name}`" in text_of(ROOT / "README.md") for name in recipe_files())
    table = text_of(DOCS / "data.md").split("## Layouts")[1].split("## Formats")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == layouts.names()
    assert all(f"| `{column}` |" in text_of(DOCS / "concepts.md") for column in COLUMNS)
    told = text_of(DOCS / "evaluate-and-report.md")
    assert all(f"`{metric}`" in told for metric in METRICS.keys() - {"macro_recall"})


def test_verbs_of_the_readme_are_all_there_are() -> None:
    used = {words[0] for page in PAGES for words in commands(page)}
    assert COMMANDS.verbs.keys() - {"completion"} <= used
    assert all(f"## scantling {name}" in text_of(DOCS / "cli.md") for name in COMMANDS.verbs if name != "data")


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to stand in with the run of a search that pages name, since a recipe takes in what it found."""
    policy = PolicySpec(((("contrast", 5), ("color", 4)),))
    (tmp_path / "runs" / "policy").mkdir(parents=True)
    policy.write(tmp_path / "runs" / "policy" / "policy.json")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=label)
@pytest.mark.usefixtures("searched")
def test_commands_parse(page: Path, soft_grade: types.ModuleType) -> None:
    """The command line's own parser reads every command; the recipe takes every override."""
    from scantling.cli import _find
    from scantling.faces.parser import Parser

    for words in commands(page):
        command, path, rest = _find(words)
        assert command.module, words
        parser = Parser(" ".join(path), "")
        importlib.import_module(f"scantling.faces.{command.module}").configure(parser, rest)
        if "--help" in rest or rest == ["--layout", "list"]:
            continue
        arguments = parser.read(rest)
        for recipe in [arguments.recipe] if path == ["train"] else arguments.recipes if path == ["meter"] else []:
            assert resolve(recipe, arguments.overrides).stages


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=label)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", [DOCS / "meter.md", DOCS / "evaluate-and-report.md"], ids=label)
def test_python_that_needs_no_data_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_block(blocks(page, "python")[-1], "block_of_the_documentation")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=label)
def test_recipes_in_the_pages_resolve(page: Path, tmp_path: Path, soft_grade: types.ModuleType) -> None:
    for block in blocks(page, "yaml"):
        (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
        recipe = resolve(tmp_path / "mine.yaml")
        assert read(tmp_path / "mine.yaml")[0] == "mine"
        assert recipe.stages[0].build().task


@pytest.fixture
def soft_grade(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The example method of ``add-a-method.md``, as if it lay where the page says."""
    page, name = DOCS / "add-a-method.md", "scantling.tasks.objectives.soft_grade"
    assert name.replace(".", "/") + ".py" in text_of(page)
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(blocks(page, "python")[0], name, "exec"), module.__dict__)
    return module


def run_block(source: str, name: str) -> dict[str, object]:
    """Run a block of a page as a module."""
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return vars(module)


def test_the_example_method_passes_its_own_tests(soft_grade: types.ModuleType) -> None:
    found = run_block(blocks(DOCS / "add-a-method.md", "python")[1], "test_soft_grade")
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()  # type: ignore[operator]


def test_the_example_method_learns(soft_grade: types.ModuleType) -> None:
    import torch
    from tensordict import TensorDict

    from scantling.core.target import parse_target

    objective = soft_grade.SoftGrade()
    objective.configure(parse_target("grade:5"))
    labels = torch.arange(5)
    outputs = torch.zeros(5, 5, requires_grad=True)
    optimizer = torch.optim.SGD([outputs], lr=5.0)
    for _ in range(50):
        optimizer.zero_grad()
        objective.loss(outputs, TensorDict({"label": labels}, batch_size=[5])).backward()
        optimizer.step()
    assert objective.decode(outputs).argmax(1).tolist() == labels.tolist()
    score = objective.score(outputs)
    assert score is not None
    assert (score.diff() > 0.5).all()


def reference() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", DOCS / "write_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_as_the_code_is() -> None:
    pages = reference().pages()
    assert pages.keys() == set(GENERATED)
    for name, text in pages.items():
        assert text_of(DOCS / name) == text, f"{name} is stale: run `python docs/write_reference.py`"


def test_figures_come_from_results_alone() -> None:
    """A measured figure with its deviation stands only in a table that was written from the results."""
    for page in PAGES:
        if not page.name.endswith("_tables.md"):
            assert not re.search(r"\d\.\d+ ?± ?\d", text_of(page)), page


def test_readme_says_what_it_must() -> None:
    text = text_of(ROOT / "README.md")
    for words in (
        "Not a medical device",
        "Apache-2.0",
        "alpha",
        "make demo",
        "make test",
        "make setup",
        "SCANTLING_DATA",
    ):
        assert words in text, words
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["license"] == "Apache-2.0"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (extra docs)")
def test_the_site_builds(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "methods" / "dr_grading.html").read_text(encoding="utf-8")
    assert "--8&lt;--" not in page
    assert "fonts.googleapis" not in page
