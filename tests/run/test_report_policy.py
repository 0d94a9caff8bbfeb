"""The report shows how a search's probabilities moved."""

from __future__ import annotations

from scantling.augment.operations import OPERATIONS
from scantling.run.report import write_report
from scantling.run.report_charts import shares
from scantling.run.report_content import ReportContent

ROWS = [[0.1] * 10, [0.37, *[0.07] * 9]]


def test_the_chart_names_the_most_probable_choice_first():
    drawn = shares(ROWS, OPERATIONS, "Operations")
    assert drawn.startswith("<svg") and "at the end: auto_contrast 0.37, invert 0.07" in drawn


def test_a_report_has_the_charts_only_where_a_policy_was_searched(tmp_path):
    policy = {"operations": ROWS, "magnitudes": ROWS, "names": OPERATIONS}
    curves = {"epoch": [1.0, 2.0], "train_loss": [0.5, 0.4]}
    pages = {
        name: write_report(tmp_path / f"{name}.html", ReportContent("aadg", curves=curves, policy=given)).read_text()
        for name, given in (("with", policy), ("without", None))
    }
    assert "Operations of the policy" in pages["with"] and "Magnitudes of the policy" in pages["with"]
    assert "of the policy" not in pages["without"]
