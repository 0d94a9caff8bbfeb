"""The command line: starts fast, fails in one line, hands every option on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from scantling import __version__
from scantling.cli import main
from scantling.core.errors import ScantlingError, TrainingError
from scantling.faces import commands, completion, docs
from scantling.faces.parser import Parser
from scantling.faces.recipe_files import recipe_paths
from scantling.faces.recipe_options import common_keys
from scantling.run import telling

HEAVY = ("torch", "numpy", "pandas", "jsonargparse", "rich", "lightning", "PIL", "matplotlib", "scipy", "tensordict")
LEAVES = dict(completion._leaves(commands.COMMANDS, ()))


def call(capsys, *words: str) -> tuple[int, str, str]:
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def refused(capsys, *words: str) -> str:
    """The one line of an error, whose code must be 2."""
    code, out, err = call(capsys, *words)
    assert code == 2, (out, err)
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("scantling: error: ")
    return err


@pytest.fixture
def stand_in(monkeypatch):
    """Replaces a function by one that notes how it is called; its module is not imported."""

    def replace(module: str, name: str, answer: object) -> list[dict]:
        calls: list[dict] = []
        signature = list(docs.arguments_of(module, name))

        def function(*values, **named):
            assert set(named) <= set(signature), "a keyword that the real function does not have"
            assert len(values) <= len(signature)
            calls.append({**dict(zip(signature, values, strict=False)), **named})
            if isinstance(answer, BaseException):
                raise answer
            return answer

        fake = ModuleType(module)
        setattr(fake, name, function)
        monkeypatch.setitem(sys.modules, module, fake)
        return calls

    return replace


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "set"
    assert main(["data", "phantom", "fundus", "--n", "24", "--sites", "2", "--size", "48", "-o", str(folder)]) == 0
    return folder / "manifest.csv"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["--version"], [], ["data", "--help"], ["train", "--help"], ["predict", "--help"],
        ["data", "import", "--layout", "csv", "--help"], ["meter", "-h"], ["recipes"], ["completion", "bash"],
        ["train", "dr_gradin"], ["train", "dr_grading"],
    ],
)  # fmt: skip
def test_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom scantling.cli import main\nmain(sys.argv[1:])\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"


def test_module_runs_and_tells_its_version():
    ran = subprocess.run([sys.executable, "-m", "scantling", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"scantling {__version__}\n"


def test_help_names_every_verb(capsys):
    _, out, _ = call(capsys, "--help")
    for name, command in commands.COMMANDS.verbs.items():
        assert f"  {name} " in out
        assert command.summary in " ".join(out.split())
    _, out, _ = call(capsys, "data", "-h")
    assert all(f"  {name} " in out for name in commands.COMMANDS.verbs["data"].verbs)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_of_every_verb_says_what_it_is_for(path, capsys):
    parser = completion._parser(path, LEAVES[path])
    assert all(action.help for action in parser._actions)
    code, out, err = call(capsys, *path, "--help")
    assert (code, err) == (0, "")
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS]
    assert all(flag in out for action in shown for flag in action.option_strings)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["unknown verb 'trian'", "'train'"]),
        (["data", "chekc"], ["unknown verb 'chekc'", "'check'", "scantling data --help"]),
        (["--versoin"], ["unknown option '--versoin'", "'--version'"]),
        (["evaluate"], ["missing: MODEL"]),
        (["evaluate", "m", "--replicate", "5"], ["unknown option '--replicate'", "'--replicates'"]),
        (["evaluate", "m", "--replicates", "many"], ["--replicates: 'many' is not a whole number"]),
        (["evaluate", "m", "--split", "tset"], ["--split: 'tset' is none of train, val, test, all", "'test'"]),
        (["evaluate", "m", "--by"], ["--by: needs at least one value"]),
        (["predict", "m", "x.png"], ["missing: -o/--out"]),
        (["predict", "m", "x.png", "-o", "o", "--augmentation", "flip"], ["'flip' is none of", "'flips'"]),
        (["predict", "m", "x.png", "-o", "o", "--batch_size", "3"], ["'--batch_size'", "'--batch-size'"]),
        (["export", "m", "-o", "m.onnx", "--tolerance", "small"], ["--tolerance: 'small' is not a number"]),
        (["train"], ["missing: RECIPE"]),
        (["train", "dr_gradin", "--data", "x.csv"], ["no recipe 'dr_gradin'", "'dr_grading'"]),
        (["train", "dr_grading"], ["no data given", "--data FILE"]),
        (["train", "dr_grading", "--data", "none.csv"], ["none.csv: no such file"]),
        (["train", "dr_grading", "--max_epochs", "3"], ["'--max_epochs'", "'--trainer.max_epochs'"]),
        (["train", "dr_grading", "--resume=yes"], ["--resume: takes no value"]),
        (["train", "dr_grading", "--trainer.max_epochs"], ["--trainer.max_epochs: needs a value"]),
        (["train", "dr_grading", "--trainer.max_epochs", "--resume"], ["--trainer.max_epochs: needs a value"]),
        (["train", "dr_grading", "more"], ["unexpected 'more'"]),
        (["meter", "linear_prob"], ["no recipe 'linear_prob'", "'linear_probe'"]),
        (["recipes", "dr_gradin"], ["no recipe 'dr_gradin'", "'dr_grading'"]),
        (["completion", "fish"], ["'fish' is none of bash, zsh"]),
        (["data", "import", "x"], ["missing: --layout NAME"]),
        (["data", "import", "x", "--image", "name"], ["missing: --layout NAME"]),
        (["data", "import", "x", "--layout", "cvs"], ["unknown layout 'cvs'", "'csv'"]),
        (["data", "import", "x", "--layout", "csv", "-o", "y.csv"], ["x: no such file or folder"]),
        (["data", "import", "x", "--layout", "csv", "--lable", "y"], ["'--lable'", "'--label'"]),
        (["data", "import", "x", "--layout", "eyepacs", "--label", "y"], ["unknown option '--label'"]),
        (["data", "check", "none.csv"], ["none.csv"]),
        (["data", "split", "none.csv", "--fractions", "0.7", "0.3"], ["--fractions: needs 3 values"]),
        (["data", "split", "none.csv", "--folds", "5", "--keep-test"], ["exclude each other"]),
        (["data", "split", "none.csv", "--folds", "5", "--balanced-test", "0.4"], ["--balanced-test exclude"]),
        (
            ["data", "phantom", "fundos", "-o", "x"],
            ["KIND: 'fundos' is none of anomaly, fundus, octa, skin", "did you mean 'fundus'"],
        ),
        (["data", "stores", "--remove", "abc"], ["no store 'abc'"]),
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_code_2(words, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCANTLING_CACHE", str(tmp_path / "cache"))
    line = refused(capsys, *words)
    assert all(part in line for part in parts), line
    assert {p.name for p in tmp_path.iterdir()} <= {"cache"}


def test_a_table_without_images_is_refused_with_its_columns(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("picture,label\na.png,1\n")
    assert "no column 'image'" in refused(capsys, "data", "check", str(tmp_path / "t.csv"))
    out = tmp_path / "o.csv"
    line = refused(capsys, "data", "import", str(tmp_path / "t.csv"), "--layout", "csv", "-o", str(out))
    assert "columns: picture, label" in line
    line = refused(
        capsys, "data", "import", str(tmp_path / "t.csv"), "--layout", "csv", "--image", "picture", "-o", str(out)
    )
    assert "--image-folder" in line
    assert "--suffix .png" in line
    assert not out.exists()


def test_errors_of_many_lines_become_one(capsys, stand_in, phantom):
    stand_in("scantling.run.train", "train", TrainingError("first\n  second", where="epoch 3", do="lower\nit"))
    assert "epoch 3: first second; lower it" in refused(capsys, "train", "dr_grading", "--data", str(phantom))


def test_unexpected_errors_say_how_to_see_more(capsys, stand_in, phantom, monkeypatch):
    words = ("train", "dr_grading", "--data", str(phantom))
    stand_in("scantling.run.train", "train", ZeroDivisionError("by\nzero"))
    code, _, err = call(capsys, *words)
    assert (code, err.count("\n")) == (70, 1)
    assert "internal error: ZeroDivisionError: by zero" in err
    assert "SCANTLING_DEBUG=1" in err
    monkeypatch.setenv("SCANTLING_DEBUG", "1")
    code, _, err = call(capsys, *words)
    assert code == 70
    assert "Traceback" in err


def test_interrupts_say_how_to_go_on(capsys, stand_in, phantom):
    stand_in("scantling.run.train", "train", KeyboardInterrupt())
    expected = (130, "", "scantling: interrupted; run again with --resume\n")
    assert call(capsys, "train", "dr_grading", "--data", str(phantom)) == expected
    stand_in("scantling.run.predict", "predict", KeyboardInterrupt())
    assert call(capsys, "predict", "m", "x", "-o", "o") == (130, "", "scantling: interrupted; run again\n")


def test_a_trainer_that_exits_after_an_interrupt_counts_as_interrupted(capsys, monkeypatch, phantom):
    def train(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setitem(sys.modules, "scantling.run.train", SimpleNamespace(train=train))
    assert main(["train", "dr_grading", "--data", str(phantom)]) == 130


def test_a_reader_that_goes_away_is_no_error():
    ran = subprocess.Popen(
        [sys.executable, "-m", "scantling", "completion", "bash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    ran.stdout.close()
    assert ran.stderr.read() == b""
    assert ran.wait() == 141


def test_train_hands_everything_on(capsys, stand_in, phantom):
    result = SimpleNamespace(folder=Path("runs/dr"), summary=lambda: "kappa 0.8")
    calls = stand_in("scantling.run.train", "train", result)
    code, out, err = call(
        capsys, "train", "--trainer.max_epochs", "10", "dr_grading", "--data", str(phantom), "--out", "runs/dr",
        "--task.adapter.backbone=resnet18", "--resume", "--data.batch_size", "8", "--task.mixer", "none",
        "--monitor", "accuracy", "--task.optimizer.lr", "-1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out == "kappa 0.8\nrun: runs/dr\n"
    assert calls == [
        {
            "recipe": "dr_grading", "data": str(phantom), "out": "runs/dr", "resume": True, "progress": True,
            "overrides": [
                "--trainer.max_epochs", "10", "--task.adapter.backbone=resnet18", "--data.batch_size", "8",
                "--task.mixer", "none", "--monitor", "accuracy", "--task.optimizer.lr", "-1",
            ],
        }
    ]  # fmt: skip


def test_data_may_come_from_the_recipe(stand_in, tmp_path):
    calls = stand_in("scantling.run.train", "train", SimpleNamespace(folder="runs/x", summary=str))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task: {}\ndata: {manifest: retina.csv}\n")
    assert main(["train", str(recipe)]) == 0
    assert main(["train", "dr_grading", "--data.manifest", "retina.csv"]) == 0
    assert [c["data"] for c in calls] == [None, None]


def test_only_the_first_process_of_a_training_speaks(capsys, stand_in, phantom, monkeypatch):
    stand_in("scantling.run.train", "train", SimpleNamespace(folder="runs/x", summary=lambda: "kappa"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call(capsys, "train", "dr_grading", "--data", str(phantom)) == (0, "", "")


def test_evaluate_hands_everything_on(capsys, stand_in):
    calls = stand_in("scantling.run.evaluate", "evaluate", SimpleNamespace(summary=lambda: "report: r.html"))
    assert call(capsys, "evaluate", "runs/dr", "--data", "r.csv") == (0, "report: r.html\n", "")
    call(
        capsys, "evaluate", "runs/dr", "--by", "site", "camera", "--out", "o", "--augmentation", "flips",
        "--replicates", "5", "--device", "cpu", "--split", "val", "--batch-size", "4",
        "--groups", "tertiles", "--tolerance", "1.5",
    )  # fmt: skip
    defaults = {
        "path": "runs/dr", "data": "r.csv", "split": "test", "out": None, "by": ("site",), "augmentation": "none",
        "replicates": 2000, "device": "auto", "batch_size": 32, "groups": "100,20", "tolerance": 2.0,
    }  # fmt: skip
    changed = {
        "data": None, "split": "val", "out": "o", "by": ("site", "camera"), "augmentation": "flips", "replicates": 5,
        "device": "cpu", "batch_size": 4, "groups": "tertiles", "tolerance": 1.5,
    }  # fmt: skip
    assert [{k: v for k, v in c.items() if k != "progress"} for c in calls] == [defaults, defaults | changed]
    assert all(callable(c["progress"]) for c in calls)


def test_predict_hands_everything_on(capsys, stand_in):
    result = SimpleNamespace(rows=3, path=Path("out/predictions.csv"), examinations=None, withheld=0, rule=None)
    calls = stand_in("scantling.run.predict", "predict", result)
    assert call(capsys, "predict", "m", "new/", "-o", "out/") == (0, "3 images\npredictions: out/predictions.csv\n", "")
    call(capsys, "predict", "m", "a.png", "b.png", "-o", "out/", "--no-saliency", "--split", "test")
    assert [(c["images"], c["saliency"], c["split"]) for c in calls] == [
        ("new/", True, None),
        (["a.png", "b.png"], False, "test"),
    ]
    assert (calls[0]["bundle"], calls[0]["out"], calls[0]["batch_size"]) == ("m", "out/", 32)
    assert (calls[0]["pixel_spacing"], calls[0]["pixels"], calls[0]["formula"]) == (None, False, "exact")
    result.examinations = Path("out/examinations.csv")
    options = ("--pixel-spacing", "0.2\\0.3", "--pixels", "--formula", "two_diameters")
    assert "examinations: out/examinations.csv" in call(capsys, "predict", "m", "new/", "-o", "out/", *options)[1]
    assert (calls[2]["pixel_spacing"], calls[2]["pixels"], calls[2]["formula"]) == ("0.2\\0.3", True, "two_diameters")
    result.withheld, result.rule = 2, "what is bad is withheld"
    gate = ("--quality-gate", "q", "--quality-gate-level", "outstanding")
    out = call(capsys, "predict", "m", "new/", "-o", "out/", *gate)
    assert "2 withheld for their quality: what is bad is withheld" in out[1]
    asked = [(c["quality_gate"], c["quality_gate_level"]) for c in calls[2:]]
    assert asked == [(None, "ungradable"), ("q", "outstanding")]


def test_assess_quality_hands_everything_on(capsys, stand_in):
    result = SimpleNamespace(rows=3, path="q/quality.csv", report="q/report.html", summary=lambda: "3 outstanding")
    calls = stand_in("scantling.run.assess_quality", "assess_quality", result)
    code, out, _ = call(capsys, "assess", "quality", "m", "new/", "-o", "q/", "--clusters", "bundle", "--seed", "4")
    assert (code, out) == (0, "3 images: 3 outstanding\ntable: q/quality.csv\nreport: q/report.html\n")
    assert [(c["images"], c["clusters"], c["seed"], c["batch_size"]) for c in calls] == [("new/", "bundle", 4, 32)]


def test_export_hands_everything_on(capsys, stand_in):
    calls = stand_in(
        "scantling.run.export", "export", SimpleNamespace(path="m.onnx", max_difference=1.2e-7, bytes=44_700_000)
    )
    code, out, _ = call(capsys, "export", "runs/dr", "-o", "m.onnx", "--no-dynamic-batch")
    assert (code, out) == (0, "largest difference from PyTorch 1.2e-07, 45 MB\nmodel: m.onnx\n")
    assert (calls[0]["bundle"], calls[0]["out"], calls[0]["dynamic_batch"]) == ("runs/dr", "m.onnx", False)


def test_meter_compares_recipes(capsys, stand_in, monkeypatch):
    metering = SimpleNamespace(to_json=lambda: {"total": 7}, counted_share=0.0, memory_share=None)
    found = {"dr_grading": metering, "linear_probe": metering}
    calls = stand_in("scantling.run.meter_recipe", "meter_recipes", found)
    words = ["meter", "dr_grading", "linear_probe", "--size", "64", "--batch", "2", "--task.ema_decay", "0.9", "--json"]
    code, out, _ = call(capsys, *words)
    assert code == 0
    row = {"total": 7, "score": 100.0, "ppe": 100.0, "pme": None}
    assert json.loads(out) == {"dr_grading": row, "linear_probe": row}
    (asked,) = calls
    assert asked == {
        "recipes": ["dr_grading", "linear_probe"], "overrides": ["--task.ema_decay", "0.9"], "size": 64, "batch": 2,
        "classes": 5, "backbone": None, "device": "fake", "attention": "fused",
    }  # fmt: skip


def test_meter_works_without_data(capsys):
    code, out, err = call(capsys, "meter", "linear_probe", "--backbone", "resnet18", "--size", "64", "--batch", "2")
    assert (code, err) == (0, "")
    head, row = out.splitlines()
    assert head.split()[:3] == ["recipe", "learnable", "total"]
    assert row.split()[:3] == ["linear_probe", f"{5 * 512 + 5:,}", "11,179,077"]


def test_help_of_a_recipe_lists_all_of_its_options(capsys):
    from scantling.run.recipe import options, resolve

    code, out, err = call(capsys, "train", "dr_grading", "--help")
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line for line in out.splitlines() if line.startswith("  --")}
    known = list(options(resolve("dr_grading")))
    assert {f"--{key}" for key, *_ in known} <= set(listed)
    assert listed["--data.batch_size"] == "  --data.batch_size int = 16"
    flat = " ".join(out.split())
    for _, _, _, text in known:
        assert docs.plain(text) in flat
    assert set(common_keys()) <= set(listed)
    assert all(len(line) <= 120 for line in out.splitlines())


def test_recipes_are_listed_and_shown(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = call(capsys, "recipes")
    lines = out.splitlines()
    assert lines[0].split() == ["name", "paper", "task", "summary"]
    assert [line.split()[0] for line in lines[1 : 1 + len(recipe_paths())]] == list(recipe_paths())
    monkeypatch.setenv("COLUMNS", "72")
    _, out, _ = call(capsys, "recipes")
    assert max(map(len, out.splitlines()[:-1])) <= 72
    _, out, _ = call(capsys, "recipes", "dr_grading")
    assert out.rstrip() == recipe_paths()["dr_grading"].read_text(encoding="utf-8").rstrip()


def test_phantoms_are_checked_split_and_counted(capsys, phantom, tmp_path):
    import pandas as pd

    code, out, _ = call(capsys, "data", "check", str(phantom))
    assert code == 0
    assert "24 images, 24 readable, 12 patients" in out
    before = phantom.read_bytes()
    other = tmp_path / "other.csv"
    code, out, err = call(
        capsys, "data", "split", str(phantom), "--fractions", "0.5", "0.25", "0.25", "--by", "none", "--stratify",
        "none", "-o", str(other),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"manifest: {other}"
    assert phantom.read_bytes() == before
    assert pd.read_csv(other)["split"].value_counts().to_dict() == {"train": 12, "val": 6, "test": 6}
    code, out, err = call(capsys, "data", "split", str(other), "--keep-test", "--fractions", "0.5", "0.5", "0")
    assert code == 2
    assert "partly" in err or "test split and outside" in err
    code, out, err = call(capsys, "data", "split", str(other))
    assert (code, err) == (0, "note: the splits that were there are replaced: train 12, val 6, test 6\n")
    table = pd.read_csv(other)
    assert table.groupby("patient")["split"].nunique().max() == 1
    assert Path(table["image"][0]).is_file()
    call(capsys, "data", "split", str(other), "--folds", "3")
    assert sorted(pd.read_csv(other)["fold"].unique()) == [0, 1, 2]
    code, out, _ = call(capsys, "data", "stats", str(phantom), "--sample", "4")
    assert "measured on  4 images" in out
    _, out, _ = call(capsys, "data", "stats", str(phantom), "--sample", "4", "--json")
    assert json.loads(out)["images"] == 24


def test_check_tells_errors_by_its_exit_code(capsys, phantom, tmp_path):
    import pandas as pd

    table = pd.read_csv(phantom).drop(columns="mask")
    table["image"] = [str(phantom.parent / image) for image in table["image"]]
    table.loc[3, "image"] = "gone.jpg"
    table.to_csv(tmp_path / "bad.csv", index=False)
    code, out, err = call(capsys, "data", "check", str(tmp_path / "bad.csv"), "--json", "--workers", "1")
    report = json.loads(out)
    assert (code, err, report["ok"]) == (1, "", False)
    assert any(p["severity"] == "error" and 3 in p["rows"] for p in report["problems"])


def test_import_takes_the_layouts_options(capsys, phantom, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.setenv("COLUMNS", "200")
    source = tmp_path / "labels.csv"
    frame = pd.read_csv(phantom)
    pd.DataFrame({"file": frame["image"], "dr": frame["label"]}).to_csv(source, index=False)
    out = tmp_path / "retina.csv"
    code, told, err = call(
        capsys, "data", "import", "--layout", "csv", str(source), "--image", "file", "--label", "dr", "--target",
        "grade:5", "--image-folder", str(phantom.parent), "-o", str(out),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert told.splitlines()[-1] == f"manifest: {out}"
    table = pd.read_csv(out)
    assert table["label"].tolist() == frame["label"].tolist()
    assert set(table["target"]) == {"grade:5"}
    _, told, _ = call(capsys, "data", "import", "--layout", "list")
    from scantling.data import layouts

    assert [line.split()[0] for line in told.splitlines()] == layouts.names()


def test_stores_are_listed_and_removed(capsys, phantom, tmp_path, monkeypatch):
    from scantling.data.manifest import Manifest
    from scantling.data.preprocess import Preprocess
    from scantling.data.store import Store

    monkeypatch.setenv("SCANTLING_CACHE", str(tmp_path))
    store = Store.open(Manifest.read(phantom), Preprocess(16))
    _, out, _ = call(capsys, "data", "stores")
    assert out.splitlines()[1].split()[:2] == [store.key, "24"]
    assert out.splitlines()[-1] == f"cache: {tmp_path}"
    assert call(capsys, "data", "stores", "--remove", store.key) == (0, f"removed: {store.key}\n", "")
    assert call(capsys, "data", "stores")[1].startswith("0 stores")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("scantling tr", {"train"}),
        ("scantling data s", {"split", "stats", "stores"}),
        ("scantling train dr_gradin", {name for name in recipe_paths() if name.startswith("dr_gradin")}),
        ("scantling train dr_grading --resu", {"--resume"}),
        ("scantling train dr_grading --trainer.max", {"--trainer.max_epochs"}),
        ("scantling train dr_grading --data ", set()),
        ("scantling data import --layout m", {"medmnist"}),
        ("scantling data import x --layout csv --image-f", {"--image-folder"}),
        ("scantling evaluate data --augmentation f", {"flips"}),
        ("scantling predict data --no-s", {"--no-saliency"}),
        ("scantling completion z", {"zsh"}),
    ],
)
def test_bash_completes(typed, expected, capsys, tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(call(capsys, "completion", "bash")[1])
    ask = (
        'set -u; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _scantling; '
        'printf "%s\\n" ${COMPREPLY[@]+"${COMPREPLY[@]}"}'
    )
    ran = subprocess.run(
        ["bash", "-c", ask, "-", script, *typed.split(" ")], capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) == expected


def test_completion_knows_every_verb_and_option():
    for shell in ("bash", "zsh"):
        text = completion.script(shell)
        for path, command in LEAVES.items():
            assert f'"{" ".join(path)}")' in text
            assert all(option in text for option in completion._parser(path, command).options())


def test_progress_is_quiet_for_what_is_quick_and_rare_for_what_is_slow(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    with telling.counting("reading") as told:
        for done in range(1, 101):
            now[0] += 0.25
            told(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading 40/100, 0:15 left", "reading 80/100, 0:05 left"]


def test_an_option_is_declared_by_the_signature_it_is_handed_to():
    parser = Parser("scantling x", "x")
    argument = docs.Argument("seed", "int", 3, "of the draw")
    parser.add("--seed", doc=argument)
    parser.add("--on", doc=docs.Argument("on", "bool", True, "a switch"))
    parser.add("--name", doc=docs.Argument("name", "str", docs.REQUIRED, "100 % a name"))
    read = parser.read(["--name", "a", "--no-on"])
    assert (read.seed, read.on, read.name) == (3, False, "a")
    assert "of the draw (default: 3)" in parser.format_help()
    assert "100 % a name" in parser.format_help()
    with pytest.raises(ScantlingError, match="missing: --name"):
        parser.read([])
