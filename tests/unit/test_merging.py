"""What is written, what its operator said, what was edited on the server: key by key, and nobody's word is lost."""

from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from blocks.parameters import AgentParameters
from deployments.form import problems
from deployments.merging import DEFAULTS, merge, record_of

OLD = {"source": "samples", "max_items": 12}
NEW, THREE = {**OLD, "max_items": 20}, {**OLD, "max_items": 3}
A, B, UNSENT = {**OLD, "source": "a"}, {**OLD, "source": "b"}, {"max_items": 12}
SMALL = {**OLD, DEFAULTS: {"max_tokens": 64}}  # an older flow's
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any] | None, dict[str, Any]]] = [
    # what it shows, written now, own, told last, on the server, own afterwards
    ("nothing known: what is written stands", OLD, {}, {}, {"source": "mine"}, {}),
    ("a server that does not know the agent", OLD, {"source": "mine"}, OLD, None, {"source": "mine"}),
    ("nobody was there", OLD, {}, OLD, OLD, {}),
    ("a source edited on the server is kept", OLD, {}, OLD, {**OLD, "source": "mine"}, {"source": "mine"}),
    ("a key added on the server is kept", OLD, {}, OLD, {**OLD, "due": "07:00"}, {"due": "07:00"}),
    ("a form that fills in defaults edits nothing", OLD, {}, OLD, {**OLD, "max_tokens": 96, "due": None}, {}),
    ("a key emptied on the server is its default", OLD, {}, OLD, {"source": "samples"}, {"max_items": 8}),
    ("a key that must be there cannot be emptied", OLD, {}, OLD, {"max_items": 12}, {}),
    ("what is written anew is no edit", NEW, {}, OLD, OLD, {}),
    ("an edit stands over what is written anew", NEW, {}, OLD, THREE, {"max_items": 3}),
    ("back to what is written", OLD, {"max_items": 3}, THREE, OLD, {}),
    ("an edit of what was set before", OLD, {"source": "a"}, A, B, {"source": "b"}),
    ("a wish not told yet is newer than an edit", OLD, {"source": "a"}, UNSENT, B, {"source": "a"}),
    ("a wish for the default is one too", OLD, {"due": None}, OLD, {**OLD, "due": "07:00"}, {"due": None}),
    ("what is written so too stays said", NEW, {"max_items": 20}, NEW, NEW, {"max_items": 20}),
    ("so it stands when another thing is written", OLD, {"max_items": 20}, NEW, NEW, {"max_items": 20}),
    ("a source that is written is no wish", OLD, {"source": "samples"}, OLD, OLD, {}),
    ("a default of then that a form filled in is no edit", OLD, {}, SMALL, {**OLD, "max_tokens": 64}, {}),
    ("a default of then that was changed is one", OLD, {}, SMALL, {**OLD, "max_tokens": 65}, {"max_tokens": 65}),
    ("a default that nobody filled in is none", OLD, {}, SMALL, OLD, {}),
    ("another edit beside it is kept", OLD, {"source": "a"}, UNSENT, THREE, {"source": "a", "max_items": 3}),
    ("a key that the flow lost is dropped", OLD, {"gone": 1, "source": "a"}, {}, None, {"source": "a"}),
    ("a value that the flow does not take any more", OLD, {"max_items": 900}, {}, None, {}),
    ("nonsense typed into the form", OLD, {}, OLD, {**OLD, "max_items": "many"}, {}),
    ("a key of an older flow that is still on the server", OLD, {}, {**OLD, "gone": 1}, {**OLD, "gone": 1}, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "own", "told", "server", "after"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_three_ways(written: Any, own: Any, told: Any, server: Any, after: Any) -> None:
    merged = merge(AgentParameters, written, own=own, told=told, server=server)
    assert merged.own == after
    assert merged.parameters == {**written, **after}


def test_what_is_kept_and_what_is_dropped_is_said() -> None:
    server = {**OLD, "max_items": 3, "max_tokens": 9000}
    merged = merge(AgentParameters, OLD, own={"gone": 1}, told={**OLD, "gone": 1}, server={**server, "gone": 1})
    dropped, too_many, kept = merged.said
    assert dropped == "drops gone = 1: unknown key"
    assert too_many.startswith("drops max_tokens = 9000: Input should be less than")
    assert kept == "keeps max_items = 3, as it was edited on the server"


WRITTEN = {"source": "x", "question": "what is said here?", "most_characters": 400}
MINE = {"source": "/mine", "privacy": "no_training"}
LEAST = {"least_characters": 300}
CLASH = "Value error, least_characters is more than most_characters"


@pytest.mark.parametrize(
    ("written", "own", "edited", "after", "dropped"),
    [
        (WRITTEN, {**MINE, "least_characters": 500}, {}, MINE, "least_characters = 500"),
        (
            WRITTEN,
            {"least_characters": 300},
            {"most_characters": 200},
            {"least_characters": 300},
            "most_characters = 200",
        ),
        (WRITTEN, {"max_items": 3, "least_characters": 500}, {}, {"max_items": 3}, "least_characters = 500"),
    ],
)
def test_of_values_that_fit_one_by_one_but_not_together_one_gives_way_and_it_is_said(
    written: Any, own: Any, edited: Any, after: Any, dropped: str
) -> None:
    from flows.prompt_agent import PromptAgentParameters

    told = {**written, **own}
    merged = merge(PromptAgentParameters, written, own=own, told=told, server={**told, **edited})
    assert merged.own == after
    assert merged.said == (f"drops {dropped}: {CLASH}",)


class FussyParameters(AgentParameters):
    """A form whose source, privacy and number do not go together."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.source, self.privacy, self.max_items) == ("/mine", "no_training", 5):
            raise ValueError("not all three")
        return self


def test_where_one_of_several_may_give_way_source_and_privacy_stay() -> None:
    merged = merge(FussyParameters, OLD, own={**MINE, "max_items": 5}, told={}, server=None)
    assert merged.own == MINE


def test_an_own_value_that_goes_back_is_said() -> None:
    assert merge(AgentParameters, OLD, own={"max_items": 3}, told=THREE, server=OLD).said == (
        "gives up max_items = 3: on the server it is as written again",
    )


def test_what_is_recorded_is_what_was_sent_and_the_defaults_beside_it() -> None:
    record = record_of(AgentParameters, OLD)
    assert {key: record[key] for key in OLD} == OLD
    assert record[DEFAULTS]["due"] is None and not OLD.keys() & record[DEFAULTS].keys()
    assert merge(AgentParameters, OLD, own={}, told=record, server=OLD).own == {}


FORMS = st.fixed_dictionaries(
    {"source": st.sampled_from("abc")},
    optional={"max_items": st.integers(-1, 9), "due": st.sampled_from([None, "07:00", "x"]), "gone": st.just(1)},
)
OWN = st.dictionaries(st.sampled_from(["source", "max_items", "due", "gone"]), st.sampled_from(["a", 5, None]))


@given(own=OWN, told=FORMS | st.just({}), server=st.none() | FORMS)
def test_what_comes_of_it_fits_always_and_to_merge_again_changes_nothing(own: Any, told: Any, server: Any) -> None:
    merged = merge(AgentParameters, OLD, own=own, told=told, server=server)
    assert problems(AgentParameters, merged.parameters) == []
    again = merge(AgentParameters, OLD, own=merged.own, told=merged.parameters, server=merged.parameters)
    assert (again.parameters, again.own, again.said) == (merged.parameters, merged.own, ())
