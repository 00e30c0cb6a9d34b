"""docs/validation.md is that of the committed results, and every experiment that it names is there."""

import pandas as pd
import validation
from byzsim.experiments.tables import theory_rates
from validation import CLAIMS, NOT_YET, ROOT, judged


def test_the_page_is_up_to_date():
    """Mend with: python tests/validation.py docs/validation.md"""
    assert (ROOT / "docs" / "validation.md").read_text(encoding="utf-8") == validation.page()


def test_every_experiment_is_there():
    assert [*validation.missing()] == [] and {claim.paper for claim in CLAIMS} == {*validation.PAPERS}


def test_the_words_of_the_contraction_are_the_tables():
    rows = theory_rates.verdict(pd.DataFrame(columns=["rule", "problem", "point", "error", "se", "course"]))
    said = {each for claim in CLAIMS if claim.experiment == "theory_rates" for each in claim.rows}
    assert said <= {*rows["Claim"]}


def test_a_verdict_is_read_from_the_results_and_one_that_is_missing_is_not_made_up(tmp_path, monkeypatch):
    claim = next(each for each in CLAIMS if each.experiment == "theory_rates")
    monkeypatch.setattr(validation, "ROOT", tmp_path)
    assert judged(claim) == ("", NOT_YET)
    folder = tmp_path / "results" / "theory_rates"
    folder.mkdir(parents=True)
    row = f"| {claim.rows[0]} | x | holds | 7 of 7 |  |"
    (folder / "README.md").write_text(f"# T\n\n| Claim | Slope claimed | Verdict | Agree | Others |\n| --- |\n{row}\n")
    assert judged(claim) == (f"{claim.rows[0]}: holds, 7 of 7", "holds")
    optimal = next(each for each in CLAIMS if each.says.startswith("is order-optimal"))
    (folder / "README.md").write_text(f"| Claim | Verdict | Agree |\n| --- |\n| {optimal.rows[0]} | holds | 4 of 4 |\n")
    assert judged(optimal)[1] == "fails", "the floor holds, and so the claim does not"
    (folder / "README.md").write_text(
        f"| Claim | Verdict | Agree |\n| --- |\n| {optimal.rows[0]} | not run | 0 of 4 |\n"
    )
    assert judged(optimal)[1] == NOT_YET
