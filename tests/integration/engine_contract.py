"""What every engine promises, written once: each engine's stage subclasses `EngineContract`.

A stage is the surroundings of one engine, real or a fake that says so, with the ways to make it fail that it
has. The contract knows no engine: it speaks to `governor.engines.protocol.Engine` and to the stage only.
"""

import threading

import pytest

from governor import inference
from governor.engines import names
from governor.engines.protocol import Loaded
from governor.errors import BadInput, DoesNotFit, HotdeskError, ModelFailed, NotReady
from governor.policy.facts import ModelSpec, Weights
from tests.integration.engine_stage import (
    ANSWER_SECONDS,
    LONG_ANSWER,
    Stage,
    Watching,
    ask,
    cannot,
    eventually,
    reasons,
    rows_of,
)

__all__ = ["EngineContract", "Stage", "eventually"]


class EngineContract:
    """Subclass this, define a fixture `stage`, and every test here is a test of that engine."""

    def test_it_is_known_by_its_name_and_says_what_it_can_do(self, stage: Stage):
        assert stage.engine.name in names()
        assert stage.engine.name == stage.spec.engine
        assert isinstance(stage.engine.experimental, bool)
        assert all(isinstance(kind, str) for kind in stage.engine.cache_types)
        assert not stage.engine.cache_types or stage.spec.cache_type in stage.engine.cache_types

    def test_a_well_engine_has_no_complaint(self, stage: Stage):
        assert stage.engine.health() is None

    def test_an_absent_engine_says_why_and_raises_nothing_but_not_ready(self, stage: Stage):
        loaded = stage.loaded()
        stage.absent()
        why = stage.engine.health()
        assert why and " " in why
        assert stage.engine.residents() is None
        assert stage.engine.alive(loaded, stage.spec.model) is False
        assert stage.engine.usage(loaded, stage.spec.model) is None
        assert isinstance(stage.engine.quiet(loaded, stage.spec.model), bool)
        assert stage.engine.unload(loaded, stage.spec.model) in (True, False)
        with pytest.raises(NotReady) as caught:
            stage.engine.load(stage.spec)
        assert caught.value.remedy

    def test_a_loaded_model_serves_and_is_listed(self, stage: Stage):
        loaded = stage.loaded()
        assert stage.engine.alive(loaded, stage.spec.model)
        assert loaded.address.startswith("http")
        assert all(isinstance(pid, int) and pid > 0 for pid in loaded.pids)
        (row,) = rows_of(stage)
        assert row.state == "loaded"
        assert row.context_tokens in ((stage.spec.context_tokens,) if stage.tells_context else (None,))
        assert set(row.pids) == set(loaded.pids)

    def test_an_idle_model_is_quiet_and_its_usage_is_what_was_asked_for(self, stage: Stage):
        loaded = stage.loaded()
        assert stage.engine.quiet(loaded, stage.spec.model)
        usage = stage.engine.usage(loaded, stage.spec.model)
        if usage is not None:
            assert (usage.engine_slots, usage.busy) == (stage.spec.engine_slots, 0)
            assert usage.context_tokens == stage.spec.context_tokens

    def test_its_weights_are_read_without_loading_them(self, stage: Stage):
        before = stage.engine.residents()
        found = stage.engine.weights(stage.spec)
        assert found is None or (isinstance(found, Weights) and found.file_mib > 0)
        assert [row.model for row in stage.engine.residents() or []] == [row.model for row in before or []]

    def test_a_loaded_model_answers_through_the_one_door(self, stage: Stage):
        said = ask(stage, stage.loaded())
        assert said.text
        assert said.tokens_out > 0

    def test_loading_what_is_loaded_is_harmless(self, stage: Stage):
        loaded = stage.loaded()
        again = stage.engine.load(stage.spec)
        assert stage.engine.alive(loaded, stage.spec.model)
        assert stage.engine.alive(again, stage.spec.model)
        assert stage.engine.unload(again, stage.spec.model)
        assert stage.engine.unload(loaded, stage.spec.model)
        assert rows_of(stage) == []

    def test_two_models_come_and_go_apart(self, stage: Stage):
        if stage.second is None:
            cannot("hold two models")
        first, second = stage.loaded(), stage.engine.load(stage.second)
        try:
            assert len(rows_of(stage, stage.second)) == len(rows_of(stage)) == 1
        finally:
            assert stage.engine.unload(second, stage.second.model)
        assert rows_of(stage, stage.second) == []
        assert stage.engine.alive(first, stage.spec.model)

    def test_unloaded_means_gone_from_its_list_and_can_be_said_twice(self, stage: Stage):
        loaded = stage.loaded()
        assert stage.engine.unload(loaded, stage.spec.model) is True
        assert rows_of(stage) == []
        assert not stage.engine.alive(loaded, stage.spec.model)
        assert stage.engine.unload(loaded, stage.spec.model) is True

    def test_an_unload_that_is_answered_early_is_waited_for(self, stage: Stage):
        loaded = stage.loaded()
        stage.slow_unload()
        assert stage.engine.unload(loaded, stage.spec.model) is True
        assert rows_of(stage) == []

    def test_a_model_that_stays_in_the_list_is_not_called_unloaded(self, stage: Stage):
        loaded = stage.loaded()
        stage.stale_list()
        assert stage.engine.unload(loaded, stage.spec.model) is False

    def test_unloading_what_was_never_loaded_is_done(self, stage: Stage):
        before = stage.loaded()
        never = Loaded(before.address, before.api_key, None, None)
        assert stage.engine.unload(never, "never-loaded") is True
        assert stage.engine.alive(before, stage.spec.model)

    def test_it_is_recorded_once_while_it_serves_and_before_load_returns(self, stage: Stage):
        recorded: list[tuple[Loaded, bool]] = []
        loaded = stage.engine.load(
            stage.spec, record=lambda it: recorded.append((it, stage.engine.alive(it, stage.spec.model)))
        )
        assert recorded == [(loaded, True)]
        assert stage.engine.unload(loaded, stage.spec.model)

    @pytest.mark.parametrize("error", [RuntimeError("no"), OSError("disk full"), ValueError("no row")])
    def test_what_record_raises_is_passed_on_and_leaves_nothing_behind(self, stage: Stage, error: Exception):
        def refuse(_loaded: Loaded) -> None:
            raise error

        before, processes = len(rows_of(stage)), stage.processes()
        with pytest.raises(type(error)) as caught:
            stage.engine.load(self.fresh(stage), record=refuse)
        assert caught.value is error
        assert len(rows_of(stage)) == before
        assert stage.processes() <= processes
        assert rows_of(stage, self.fresh(stage)) == []

    def test_a_second_load_that_fails_leaves_the_first_alone(self, stage: Stage):
        def refuse(_loaded: Loaded) -> None:
            raise RuntimeError("no")

        first = stage.loaded()
        with pytest.raises(RuntimeError):
            stage.engine.load(stage.spec, record=refuse)
        assert stage.engine.alive(first, stage.spec.model)
        assert set(first.pids) <= stage.processes() or not stage.processes()

    def test_it_is_watched_every_tenth_of_a_second_while_it_loads(self, stage: Stage):
        stage.slow_load()
        watching = Watching()
        loaded = stage.engine.load(self.fresh(stage), watch=watching)
        assert stage.engine.unload(loaded, self.fresh(stage).model)
        assert len(watching.calls) >= 2
        gaps = [later - sooner for sooner, later in zip(watching.calls, watching.calls[1:], strict=False)]
        assert sorted(gaps)[(len(gaps) - 1) // 2] < 0.3  # the lower median: one stall of a busy machine is no finding
        assert watching.pids == set(loaded.pids) or not loaded.pids

    @pytest.mark.parametrize(
        ("error", "at_call"),
        [(DoesNotFit("Memory ran short.", remedy="None."), 1), (OSError("sensor"), 2), (KeyboardInterrupt(), 2)],
        ids=["at once", "while it loads", "a signal"],
    )
    def test_what_the_watcher_raises_ends_the_load_and_leaves_nothing_behind(
        self, stage: Stage, error: BaseException, at_call: int
    ):
        stage.slow_load()
        recorded: list[Loaded] = []
        processes = stage.processes()
        with pytest.raises(type(error)) as caught:
            stage.engine.load(self.fresh(stage), record=recorded.append, watch=Watching(error, at_call))
        assert caught.value is error
        assert recorded == []
        assert rows_of(stage, self.fresh(stage)) == []
        assert stage.processes() <= processes

    def test_a_load_past_its_deadline_fails_and_leaves_nothing_behind(self, stage: Stage):
        stage.slow_load()
        processes = stage.processes()
        with pytest.raises(ModelFailed):
            stage.engine.load(self.fresh(stage), deadline_seconds=0.05)
        assert rows_of(stage, self.fresh(stage)) == []
        assert stage.processes() <= processes

    def test_a_model_that_is_not_there_is_named_with_what_to_do(self, stage: Stage):
        missing = stage.missing()
        with pytest.raises((NotReady, BadInput)) as caught:
            stage.engine.load(missing)
        assert missing.source in reasons(caught.value)
        assert caught.value.remedy
        assert rows_of(stage, missing) == []

    def test_a_full_queue_is_worth_asking_again(self, stage: Stage):
        stage.queue_full()
        with pytest.raises(ModelFailed) as caught:
            stage.engine.load(stage.spec)
        assert caught.value.data["retryable"] is True
        assert rows_of(stage) == []

    def test_a_model_that_came_in_only_in_part_is_taken_out_again(self, stage: Stage):
        stage.spills()
        recorded: list[Loaded] = []
        with pytest.raises(DoesNotFit):
            stage.engine.load(stage.spec, record=recorded.append)
        assert recorded == []
        assert rows_of(stage) == []

    def test_a_load_that_dies_is_a_typed_error_and_leaves_nothing_behind(self, stage: Stage):
        processes = stage.processes()
        watch = stage.dies_mid_load()
        with pytest.raises((ModelFailed, NotReady)) as caught:
            stage.engine.load(self.fresh(stage), watch=watch)
        assert caught.value.remedy
        assert rows_of(stage, self.fresh(stage)) == []
        assert stage.processes() <= processes

    def test_a_call_whose_engine_is_killed_ends_in_a_typed_error(self, stage: Stage):
        inference.warm_up()
        loaded = stage.loaded()
        stage.hangs()
        errors: list[BaseException] = []

        def generate() -> None:
            try:
                ask(stage, loaded, choices=LONG_ANSWER)
            except HotdeskError as error:
                errors.append(error)

        thread = threading.Thread(target=generate)
        thread.start()
        try:
            assert eventually(lambda: stage.generating(loaded), 20.0)
            if stage.engine.usage(loaded, stage.spec.model) is not None:
                assert stage.engine.quiet(loaded, stage.spec.model) is False
            stage.kill(loaded)
        finally:
            thread.join(ANSWER_SECONDS)
        assert [type(error) for error in errors] == [ModelFailed]
        assert stage.engine.alive(loaded, stage.spec.model) is False
        assert stage.engine.unload(loaded, stage.spec.model) in (True, False)

    def test_closing_twice_is_harmless(self, stage: Stage):
        stage.engine.close()
        stage.engine.close()

    def fresh(self, stage: Stage) -> ModelSpec:
        """A model for tests of loading that is not in memory, and may be kept out of it."""
        return stage.second or stage.spec
