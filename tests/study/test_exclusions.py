"""Each rule alone, on answers made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tedbench.study import analysing, exclusions
from tedbench.study.answers import Answer
from tedbench.study.bundle import MAIN, Study
from tedbench.study.exclusions import COLUMN, RULES
from tedbench.study.lock import Exclusions

OFF = Exclusions(failed_checks=None, changed_repeats=None, median_seconds=None)
SHORT = {"questions": 8, "repeats": 2, "checks": 2}


@pytest.fixture
def study(make_study: Callable[..., Study], tmp_path: Path) -> Study:
    return make_study(tmp_path, methods=2, photos=6, per_rater=SHORT, asking={"allow": ("same",)})


def sat(study: Study, rater: str, screens: list[tuple[str, bool, str, int]]) -> list[Answer]:
    """One answer a screen: (question, flipped, choice, ms)."""
    tag = study.lock.tag
    return [
        Answer(tag, rater, slot, q, flip, "overall", said, ms, "t") for slot, (q, flip, said, ms) in enumerate(screens)
    ]


def careful(study: Study, rater: str = "good", ms: int = 3000) -> list[Answer]:
    """Four questions, two of them again and mirrored, and two checks answered rightly."""
    main = [one.id for one in study.main][:4]
    gold = {one.expected: one.id for one in study.key.questions if one.kind == "gold"}
    screens = [(q, False, "left", ms) for q in main] + [(q, True, "right", ms) for q in main[:2]]
    return sat(study, rater, [*screens, (gold["first"], False, "left", ms), (gold["second"], False, "right", ms)])


def changed(answers: list[Answer], slots: tuple[int, ...], **to: object) -> list[Answer]:
    return [Answer(**{**vars(one), **to}) if one.slot in slots else one for one in answers]


def judged(study: Study, answers: list[Answer], rules: Exclusions, statuses: dict[str, str] | None = None):
    return exclusions.raters(analysing.frame(study, answers), rules, SHORT["questions"], statuses or {})


BAD = {
    "failed_checks": lambda all_: changed(all_, (6,), choice="right"),
    "changed_repeats": lambda all_: changed(all_, (4, 5), choice="left"),
    "median_seconds": lambda all_: changed(all_, (0, 1, 2, 3), ms=400),
    "unfinished": lambda all_: all_[:-1],
}
ON = {
    "failed_checks": {"failed_checks": 1},
    "changed_repeats": {"changed_repeats": 2},
    "median_seconds": {"median_seconds": 1.0},
    "unfinished": {"unfinished": True},
}


@pytest.mark.parametrize("rule", ON)
def test_a_rule_excludes_whom_it_is_for_and_nobody_else(study: Study, rule: str) -> None:
    answers = careful(study) + BAD[rule](careful(study, "bad"))
    table = judged(study, answers, OFF.model_copy(update=ON[rule])).set_index("rater")
    assert table["excluded"].to_dict() == {"good": False, "bad": True}
    assert table.loc["bad", "why"] == rule
    assert [name for name in RULES if table.loc["bad", COLUMN[name]]] == [rule]


@pytest.mark.parametrize("rule", ON)
def test_a_rule_that_is_off_excludes_nobody(study: Study, rule: str) -> None:
    table = judged(study, BAD[rule](careful(study, "bad")), OFF)
    assert not table["excluded"].any()
    assert set(table["why"]) == {""}


def test_what_is_counted_of_a_rater(study: Study) -> None:
    one = judged(study, careful(study), Exclusions()).iloc[0]
    assert (one["screens"], one["answers"], one["checks"], one["repeats"]) == (8, 8, 2, 2)
    assert (one["checks_failed"], one["repeats_changed"], one["left_share"]) == (0, 0, 4 / 6)
    assert one["median_seconds"] == 3.0


def test_limits_are_reached_not_passed(study: Study) -> None:
    once = changed(careful(study), (4,), choice="left")
    rules = OFF.model_copy(update={"changed_repeats": 2})
    assert not judged(study, once, rules)["excluded"].any()
    assert judged(study, once, OFF.model_copy(update={"changed_repeats": 1}))["excluded"].all()
    exactly = judged(study, careful(study, ms=1000), OFF.model_copy(update={"median_seconds": 1.0}))
    assert not exactly["excluded"].any()


def test_times_of_checks_do_not_count(study: Study) -> None:
    slow = changed(careful(study, ms=500), (6, 7), ms=100_000)
    assert judged(study, slow, Exclusions())["too_fast"].all()


def test_a_tie_fails_a_check_and_is_a_change_of_a_repeat(study: Study) -> None:
    assert judged(study, changed(careful(study), (7,), choice="same"), Exclusions())["checks_failed"].to_list() == [1]
    assert judged(study, changed(careful(study), (4,), choice="same"), Exclusions())["repeats_changed"].to_list() == [1]
    ties = changed(careful(study), (0, 4), choice="same")
    assert judged(study, ties, Exclusions())["repeats_changed"].to_list() == [0]


def test_an_instruction_means_a_side_whichever_way_pictures_lie(study: Study) -> None:
    told = next(one for one in study.key.questions if one.kind == "instructed" and one.expected == "left")
    for flipped in (False, True):
        assert exclusions.right(told, flipped) == "left"
        assert judged(study, sat(study, "r", [(told.id, flipped, "right", 9)]), Exclusions())["checks_failed"][0] == 1


def test_a_scrambled_picture_is_wrong_on_whichever_side_it_is(study: Study) -> None:
    gold = next(one for one in study.key.questions if one.kind == "gold" and one.expected == "first")
    assert [exclusions.right(gold, flipped) for flipped in (False, True)] == ["left", "right"]


@pytest.mark.parametrize(
    ("status", "out"), [("REJECTED", True), ("RETURNED", True), ("TIMED-OUT", True), ("APPROVED", False)]
)
def test_a_status_excludes_by_what_the_platform_says(study: Study, status: str, out: bool) -> None:
    table = judged(study, careful(study), OFF, {"good": status, "nobody": "REJECTED"})
    assert table["excluded"].to_list() == [out]
    assert table["why"].to_list() == ["status" if out else ""]


def test_who_breaks_two_rules_counts_for_both_and_alone_for_neither(study: Study) -> None:
    both = BAD["median_seconds"](BAD["failed_checks"](careful(study, "both")))
    answers = careful(study) + both + BAD["failed_checks"](careful(study, "one"))
    table = judged(study, answers, Exclusions())
    told = exclusions.counted(table, Exclusions()).set_index("rule")
    assert told["excluded"].to_dict() == {
        "failed_checks": 2, "changed_repeats": 0, "median_seconds": 1, "unfinished": 0, "status": 0, "any": 2,
    }  # fmt: skip
    assert told["alone"].to_dict() == {
        "failed_checks": 1, "changed_repeats": 0, "median_seconds": 0, "unfinished": 0, "status": 0, "any": 2,
    }  # fmt: skip
    assert told.loc["any", "answers"] == 16
    assert told.loc["unfinished", "limit"] == "off"
    assert table.set_index("rater").loc["both", "why"] == "failed_checks, median_seconds"


def test_with_two_aspects_a_repeat_is_changed_only_if_all_are(make_study: Callable[..., Study], tmp_path: Path) -> None:
    two = {"aspects": [{"name": "a", "wording": "A?"}, {"name": "b", "wording": "B?"}]}
    study = make_study(tmp_path, methods=2, photos=3, asking=two)
    question, tag = study.main[0].id, study.lock.tag

    def screen(rater: str, slot: int, flipped: bool, *said: str) -> list[Answer]:
        return [
            Answer(tag, rater, slot, question, flipped, name, one, 9, "t") for name, one in zip("ab", said, strict=True)
        ]

    answers = [
        *screen("one", 0, False, "left", "left"), *screen("one", 1, True, "right", "left"),
        *screen("all", 0, False, "left", "left"), *screen("all", 1, True, "left", "left"),
    ]  # fmt: skip
    table = judged(study, answers, Exclusions()).set_index("rater")
    assert table["repeats_changed"].to_dict() == {"one": 0, "all": 1}
    assert table["repeats"].to_dict() == {"one": 1, "all": 1}
    gold = next(one for one in study.key.questions if one.kind == "gold" and one.expected == "first").id
    check = [Answer(tag, "c", 0, gold, False, name, said, 9, "t") for name, said in (("a", "left"), ("b", "right"))]
    assert judged(study, check, Exclusions())["checks_failed"].to_list() == [1]


def test_repeats_and_checks_are_told_by_what_the_key_says(study: Study) -> None:
    frame = analysing.frame(study, careful(study))
    assert frame["kind"].to_list() == [MAIN] * 4 + ["repeat"] * 2 + ["check"] * 2
