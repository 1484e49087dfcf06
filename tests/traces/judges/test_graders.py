"""What the ledger says of a job that asks."""

from traces.judges.graders import Inquiry


def test_the_ledger_names_the_rule_and_what_it_asks_about():
    inquiry = Inquiry("mini/cake-plain-s0", {"a/b": (1.0, 2.0)}, seed=0)
    assert inquiry.told("judge_scales") == {
        "stage": "judge_scales",
        "checkpoint": "mini/cake-plain-s0",
    }
