"""The router's policy as a Prefect Block, and the one call an agent makes: ask for a kind of work."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from blocks.cloud_accounts import current_accounts
from blocks.document import load_or_default
from governor.answers import Asked
from governor.asking import PATIENCE_SECONDS, ask_all
from governor.batch import Mandate
from governor.policy.adequacy import does
from governor.policy.refusing import RoutingRules
from governor.policy.requests import ModelRequest, Privacy, Quality, stricter
from governor.profile import current_profile

RULES = RoutingRules()
# An hour: longer than any agent's patience is by default.
SPARED_SECONDS = 3600.0
# What holds while the operator's document cannot be read: it may forbid the cloud or what costs money.
UNREADABLE = {"allow_cloud": False, "ceiling_usd_per_day": 0.0}


class ModelRouter(Block):
    """How requests find a model, on this machine or in the cloud. Agents name a kind of work, never a model."""

    _block_type_name: ClassVar[str | None] = "Model Router"
    _block_type_slug: ClassVar[str | None] = "model-router"
    _description: ClassVar[str | None] = "How a request finds a model, and how long it may wait for it."

    patience_seconds: float = Field(
        default=PATIENCE_SECONDS, gt=0, description="Longest wait in line when an agent does not say; then it skips."
    )
    always_quick: bool = Field(
        default=False, description="Prefer the small CPU model for everything, for instance while you need the GPU."
    )

    allow_gpu: bool = Field(default=True, description="Off: no agent stands in the line of the heavy model.")
    allow_cpu: bool = Field(default=True, description="Off: no agent stands in the line of the small CPU model.")
    allow_cloud: bool = Field(
        default=True,
        description="Off: no agent uses a cloud tier. On: those do whose own `privacy` allows it, if there is a key.",
    )
    ceiling_usd_per_day: float = Field(
        default=RULES.ceiling_usd, ge=0, description="Most that paid tiers may cost in a day. 0: none is ever called."
    )
    cloud_price_seconds: float = Field(
        default=RULES.cloud_price_seconds,
        ge=0,
        le=86_400,
        description="How much longer agents rather wait for a model here than use up a free call.",
    )
    explores: bool = Field(
        default=RULES.explores,
        description="Now and then another model goes first, to learn how it does. Off: always the one that seems best.",
    )

    def rules(self) -> RoutingRules:
        """The same as plain rules."""
        return RoutingRules(
            allow_gpu=self.allow_gpu,
            allow_cpu=self.allow_cpu,
            allow_cloud=self.allow_cloud,
            ceiling_usd=self.ceiling_usd_per_day,
            cloud_price_seconds=self.cloud_price_seconds,
            # Who needs the GPU lets agents wait for the small model as long as they would for anything.
            desk_price_seconds=SPARED_SECONDS if self.always_quick else RULES.desk_price_seconds,
            explores=self.explores,
        )

    def ask_all(
        self,
        requests: Sequence[ModelRequest],
        *,
        mandate: Mandate,
        privacy: Privacy | None = None,
    ) -> Asked:
        """Serve a batch of requests of one agent, each answer checked by its rule.

        Args:
            requests: one kind of work; answers come back in this order.
            mandate: who asks, and on what terms; its patience is the document's where it does not say.
            privacy: where words may go whose request does not say; None: nowhere but this machine. Of two words the
                stricter one counts.

        Raises:
            LeftLine, DoesNotFit, SeatLost: not now. NoRoute: never here, with every refusal.
            TierShut, NotReady, ModelFailed, BadInput: what the last candidate said.
        """
        batch = [self._asked_for(request, mandate.due_at, privacy) for request in requests]
        patience_seconds = self.patience_seconds if mandate.patience_seconds is None else mandate.patience_seconds
        return ask_all(
            batch,
            replace(mandate, patience_seconds=patience_seconds),
            rules=self.rules(),
            # One private request keeps all of its batch here: then not even the keys are read.
            accounts=current_accounts() if self.allow_cloud and _may_leave(batch) else (),
        )

    def largest_billion(self, request: ModelRequest) -> float:
        """Size of the largest model that could do this request, as the operator and its privacy allow."""
        clouds = current_accounts() if self.allow_cloud and _may_leave([request]) else ()
        models = [account.model for account in clouds if account.model.may_see(request.allowed)]
        sizes = [model.parameters_billion for model in models if does(model.kinds, request.kind)]
        lines = {"gpu": self.allow_gpu and not self.always_quick, "cpu": self.allow_cpu}
        here = [spec for spec in current_profile().tiers.values() if lines.get(spec.line, True)]
        return max([*sizes, *(spec.parameters_billion for spec in here if does(spec.kinds, request.kind))], default=0.0)

    def _asked_for(self, request: ModelRequest, due_at: datetime | None, privacy: Privacy | None) -> ModelRequest:
        """The request with the run's due time unless it has its own, the stricter privacy, the operator's wish."""
        return request.model_copy(
            update={
                "due_at": request.due_at or due_at,
                "privacy": stricter(request.privacy, privacy),
                "quality": Quality.QUICK if self.always_quick else request.quality,
            }
        )


def current_router() -> ModelRouter:
    """The operator's document; the defaults when there is none, without cloud when it is invalid or out of reach."""
    return load_or_default(ModelRouter, unreadable=UNREADABLE)


def _may_leave(requests: Sequence[ModelRequest]) -> bool:
    """Whether the words of all of them may go to a cloud."""
    return bool(requests) and all(request.allowed is not Privacy.LOCAL_ONLY for request in requests)
