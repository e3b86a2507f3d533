"""The router's policy as a Prefect Block, and the one call an agent makes: ask for a kind of work."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from blocks.document import load_or_default
from governor.asking import Ask, Asked, ask_all
from governor.policy.facts import ModelRequest, Quality
from governor.policy.routing import RoutingRules


class ModelRouter(Block):
    """How requests find a model on this machine. Agents name a kind of work, never a model."""

    _block_type_name: ClassVar[str | None] = "Model Router"
    _block_type_slug: ClassVar[str | None] = "model-router"
    _description: ClassVar[str | None] = "How a request finds a model on this machine, and how long it may wait for it."

    patience_seconds: float = Field(
        default=900, gt=0, description="Longest wait in line when an agent does not say; then it skips."
    )
    always_quick: bool = Field(
        default=False, description="Prefer the small CPU model for everything, for instance while you need the GPU."
    )

    allow_gpu: bool = Field(default=True, description="Off: no agent stands in the line of the heavy model.")
    allow_cpu: bool = Field(default=True, description="Off: no agent stands in the line of the small CPU model.")

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

        Args:
            asks: one kind of work; answers come back in this order.
            agent: who asks, as its deployment is called.
            patience_seconds: longest wait in line; the document's when None.
            flow_run_id: Prefect's id of the run, for the records.
            due_at: when the answers are needed; a request's own due time goes first.

        Raises:
            LeftLine, DoesNotFit, SeatLost: not now. NoRoute: never here, with every refusal.
            NotReady, ModelFailed, BadInput: what the last candidate said.
        """
        batch = [replace(ask, request=self._asked_for(ask.request, due_at)) for ask in asks]
        return ask_all(
            batch,
            agent=agent,
            patience_seconds=self.patience_seconds if patience_seconds is None else patience_seconds,
            flow_run_id=flow_run_id,
            due_at=due_at,
            rules=RoutingRules(allow_gpu=self.allow_gpu, allow_cpu=self.allow_cpu),
        )

    def _asked_for(self, request: ModelRequest, due_at: datetime | None) -> ModelRequest:
        """The request with the run's due time, unless it has its own, and with the operator's preference."""
        return request.model_copy(
            update={
                "due_at": request.due_at or due_at,
                "quality": Quality.QUICK if self.always_quick else request.quality,
            }
        )


def current_router() -> ModelRouter:
    """The operator's document, or the defaults when it is missing, invalid or out of reach."""
    return load_or_default(ModelRouter)
