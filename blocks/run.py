"""One run of one agent: its caps, its inputs, its asks, its outputs, and an honest end state."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from blocks.parameters import AgentParameters
from blocks.reading.found import ItemT
from blocks.router import ModelRouter, current_router
from blocks.untrusted import plain_line, seen
from blocks.why_line import line_of_run
from blocks.writing.markdown import cell, escaped
from blocks.writing.outputs import (
    Provenance,
    drop_outputs,
    folder_of,
    page_text,
    read_provenance,
    sha256,
    slug,
    write_outputs,
)
from blocks.writing.safe_markdown import tame
from governor import remembered
from governor.answers import Answer, Asked
from governor.batch import Mandate
from governor.errors import HotdeskError, TooLate
from governor.events import log_event
from governor.policy.requests import ModelRequest, stricter
from governor.profile import current_profile
from governor.state.models import AgentRun
from governor.state.sessions import transaction

LINK = re.compile(r"https?://[^\s<>\"')\]]+", re.IGNORECASE)
# A run that started later than its whole patience still gets one look at the line.
LEAST_PATIENCE_SECONDS = 5.0
ALARM = "Alarm"
# Behind the day in the name of a page that says why there is none.
COULD_NOT = ".could-not"


class CouldNot(Exception):
    """The agent has nothing that passed its checks; `facts` is what it did gather."""

    def __init__(self, why: str, *, facts: str = "") -> None:
        super().__init__(why)
        self.facts = facts


@dataclass
class Run:
    """One run. `expected_at`: when it should have begun, its start where nobody said; outputs are named by its day."""

    agent: str
    record_id: int
    flow_run_id: str | None
    capped: bool
    parameters: AgentParameters
    expected_at: datetime
    late_seconds: float = 0.0
    too_late: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    calls: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    remembered_calls: int = 0
    state: State = field(default_factory=Completed)

    @property
    def due_at(self) -> datetime | None:
        """When its output is wanted."""
        return self.parameters.due_at(self.expected_at)

    @property
    def day(self) -> str:
        """The local day that its outputs are named by."""
        return f"{self.expected_at.astimezone(ZoneInfo(self.parameters.timezone)):%Y-%m-%d}"

    @property
    def folder(self) -> Path:
        """Where it writes, and nowhere else."""
        return folder_of(self.agent)

    def items(self, wanted: int) -> int:
        """How many items to work on: what the agent wants, less in a capped first round."""
        return min(wanted, current_profile().first_round_items) if self.capped else wanted

    def tokens(self, wanted: int) -> int:
        """The same for tokens of one answer."""
        return min(wanted, current_profile().first_round_tokens) if self.capped else wanted

    def take(self, items: Iterable[ItemT]) -> list[ItemT]:
        """The first items within the cap; they stand in the provenance, and their links may be shown.

        Raises:
            TooLate: the run started past its window and must not do its work.
        """
        taken = list(items)[: self.items(self.parameters.max_items)]
        for item in taken:
            self.saw(item.id, item.sha256, text=f"{item.url} {item.text}")
        return taken

    def saw(self, name: str, digest: str, *, text: str = "") -> None:
        """Something that was read beside the items: by its name and sha256; links in `text` may be shown.

        Raises:
            TooLate: the run started past its window and must not do its work.
        """
        self._in_time()
        self.inputs[name] = digest
        self.links |= set(LINK.findall(text))

    def _in_time(self) -> None:
        if self.too_late:
            raise TooLate(
                f"This run of {self.agent} is too late: {self.too_late}.",
                means="It did nothing.",
                remedy="Its next run does the work; `late` and `window_minutes` in its parameters decide about this.",
            )

    def ask_all(self, requests: Sequence[ModelRequest]) -> list[Answer]:
        """Ask for a batch of one kind of work; answers that failed their checks are `verified=False`.

        What a request does not say itself (privacy, quality, due time) the run's parameters say; where both speak
        of privacy, the stricter one counts. What was answered at an earlier run is not asked again.
        """
        self._in_time()
        filled = [self._filled(request) for request in requests]
        self.asked |= {remembered.digest_of(request) for request in filled}
        router = current_router()
        answers = self._recalled(filled, router)
        self.remembered_calls += sum(answer is not None for answer in answers)
        open_ones = [index for index, answer in enumerate(answers) if answer is None]
        asked = self._ask(router, [filled[index] for index in open_ones]) if open_ones else Asked()
        for index, answer in zip(open_ones, asked.answers, strict=True):
            answers[index] = answer
        done = [answer for answer in answers if answer is not None]
        for answer in done:
            count = self.calls.setdefault((answer.tier, answer.model), [0, 0])
            count[0] += 1
            count[1] += answer.verified
        self._keep(asked.line_seconds, asked.desk_seconds)
        return done

    def are_known(self, requests: Sequence[ModelRequest]) -> list[bool]:
        """For each request whether its answer is known from an earlier run: a cap on a run counts the new ones only."""
        found = self._recalled([self._filled(request) for request in requests], current_router())
        return [answer is not None for answer in found]

    def _recalled(self, filled: Sequence[ModelRequest], router: ModelRouter) -> list[Answer | None]:
        return remembered.recall(self.agent, filled, now=datetime.now(UTC), largest=router.largest_billion)

    def _ask(self, router: ModelRouter, requests: list[ModelRequest]) -> Asked:
        mandate = Mandate(
            self.agent,
            patience_seconds=max(LEAST_PATIENCE_SECONDS, self.parameters.patience_seconds - self.late_seconds),
            flow_run_id=self.flow_run_id,
            due_at=self.due_at,
            bound_seconds=self.parameters.max_seconds,
        )
        try:
            asked = router.ask_all(requests, mandate=mandate)
        except HotdeskError as error:
            self._keep(error.data.get("line_seconds", 0.0), error.data.get("desk_seconds", 0.0))
            raise
        remembered.remember(self.agent, requests, asked.answers, now=datetime.now(UTC))
        return asked

    def _keep(self, line_seconds: float, desk_seconds: float) -> None:
        """Write down what the run came to so far, and what the latest batch took."""
        passed = sum(verified for _, verified in self.calls.values())
        with transaction() as session:
            record = session.get_one(AgentRun, self.record_id)
            record.line_seconds += line_seconds
            record.desk_seconds += desk_seconds
            record.calls_model = passed
            record.calls_rules = sum(calls for calls, _ in self.calls.values()) - passed
            record.calls_remembered = self.remembered_calls

    def _filled(self, request: ModelRequest) -> ModelRequest:
        filled = {
            "privacy": stricter(request.privacy, self.parameters.privacy),
            "quality": request.quality or self.parameters.quality,
        }
        return request.model_copy(update=filled)

    def write(
        self, title: str, markdown: str, *, files: Mapping[str, str | bytes] | None = None, alarm: str = ""
    ) -> Path:
        """Write the page of the day, further files beside it, and the artifact; the page's path.

        Args:
            files: name -> content, in the agent's own folder.
            alarm: what somebody should look at now; the run then ends as `Completed(name="Alarm")` with it, which a
                notification can wait for.
        """
        self._in_time()
        path = self._output(title, markdown, files or {}, day=self.day)
        drop_outputs(self.folder, f"{self.day}{COULD_NOT}")
        self._end("written", f"ALARM: {alarm}" if alarm else path.name, output_path=str(path))
        message = f"{alarm}; wrote {path}" if alarm else f"wrote {path}"
        self.state = Completed(name=ALARM, message=message) if alarm else Completed(message=message)
        return path

    def _output(self, title: str, markdown: str, files: Mapping[str, str | bytes], *, day: str) -> Path:
        """The files, the provenance and the artifact, with a line on which model did what, and why."""
        folder, now = self.folder, datetime.now(UTC)
        provenance = self._provenance(read_provenance(folder, day), now)
        text = page_text(escaped(plain_line(title)), markdown, capped=self.capped, why=cell(provenance.why))
        page = tame(text, links=self.links)
        named = {name: seen(data).encode() if isinstance(data, str) else data for name, data in files.items()}
        write_outputs(folder, day, {**named, f"{day}.md": page.encode()}, provenance)
        path = folder / f"{day}.md"
        if flow_run.id:
            create_markdown_artifact(key=slug(self.agent), markdown=page, description=f"{self.agent}: {path.name}")
        return path

    def _provenance(self, before: Provenance | None, now: datetime) -> Provenance:
        """Where it all came from. Who asked no model says what was said when its answers were had."""
        why = line_of_run(self.record_id)
        if not why and self.remembered_calls and before is not None:
            why = before.why
        return Provenance(
            agent=self.agent,
            run=self.flow_run_id or "by-hand",
            written_at=now,
            capped=self.capped,
            inputs=self.inputs,
            parameters=sha256(self.parameters.model_dump_json()),
            requests=sha256("".join(sorted(self.asked))) if self.asked else "",
            calls=[
                {"tier": tier, "model": model, "calls": count, "verified": passed}
                for (tier, model), (count, passed) in sorted(self.calls.items())
            ],
            why=why,
        )

    def could_not(self, error: CouldNot) -> None:
        """End as CouldNot, with the facts that were gathered in a page of its own: an earlier one of the day stands."""
        path = None
        if error.facts:
            said = f"{escaped(plain_line(str(error), 400))}\n\n{error.facts}"
            path = self._output("Could not", said, {}, day=f"{self.day}{COULD_NOT}")
        self._end("could_not", str(error), output_path=str(path) if path else None)
        self.state = Completed(name="CouldNot", message=str(error))

    def skipped(self, error: HotdeskError, after: datetime | None) -> None:
        """End as Skipped, with when it runs again."""
        again = f" Its next run: {after:%Y-%m-%d %H:%M} UTC." if after else ""
        self._end("skipped", error.happened + again)
        self.state = Completed(name="Skipped", message=str(error) + again)

    def failed(self, why: str) -> None:
        """Leave a reason on record; what happened goes on as it is."""
        self._end("failed", why[:500])

    def _end(self, state: str, message: str, *, output_path: str | None = None) -> None:
        with transaction() as session:
            record = session.get_one(AgentRun, self.record_id)
            record.state, record.message, record.ended_at = state, message, datetime.now(UTC)
            record.output_path = output_path or record.output_path
        log_event("agent_ended", holder=self.agent, state=state, why=message)
