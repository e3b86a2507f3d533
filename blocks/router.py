"""The router's policy as a Prefect Block, and the one call an agent makes: ask for a kind of work."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, ValidationError

from governor.asking import Ask, Asked, ask_all
from governor.events import log_event
from governor.policy.facts import ModelRequest, Quality

DOCUMENT = "default"


class ModelRouter(Block):
    """How requests find a model on this machine. Agents name a kind of work, never a model."""

    _block_type_name: ClassVar[str | None] = "Model Router"
    _block_type_slug: ClassVar[str | None] = "model-router"

    patience_seconds: float = Field(
        default=900, gt=0, description="Longest wait in line when an agent does not say; then it skips."
    )
    always_quick: bool = Field(
        default=False, description="Prefer the small CPU model for everything, for instance while you need the GPU."
    )

    def ask_all(
        self,
        asks: Sequence[Ask],
        *,
        agent: str,
        patience_seconds: float | None = None,
        flow_run_id: str | None = None,
        due_at: datetime | None = None,
    ) -> Asked:
        """Serve a batch of requests of one agent at one seat, each answer checked by its rule.

        Raises:
            LeftLine: patience ran out. DoesNotFit: no tier serves this here, with every refusal.
            NotReady, ModelFailed, BadInput: what the last candidate said.
        """
        batch = [Ask(self._asked_for(ask.request), ask.check) for ask in asks]
        return ask_all(
            batch,
            agent=agent,
            patience_seconds=patience_seconds or self.patience_seconds,
            flow_run_id=flow_run_id,
            due_at=due_at,
        )

    def _asked_for(self, request: ModelRequest) -> ModelRequest:
        return request.model_copy(update={"quality": Quality.QUICK}) if self.always_quick else request


def current_router() -> ModelRouter:
    """The operator's document, or the defaults when it is missing, invalid or out of reach."""
    try:
        document = ModelRouter.load(DOCUMENT)
    except (ValueError, ValidationError, RuntimeError) as error:
        log_event("router_defaults", why=type(error).__name__)
        return ModelRouter()
    return document if isinstance(document, ModelRouter) else ModelRouter()
