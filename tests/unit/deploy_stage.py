"""A stage for deploys: a FAKE of Prefect's client that keeps deployments, and of a server that answers or is silent."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from deployments.sending import Server
from deployments.use import Wishes, run_use
from deployments.uses import use_of
from governor.settings import Home

NAME = "triage/support"
Use = Callable[..., str]


def answer_of(status: int) -> PrefectHTTPStatusError:
    """What Prefect's client raises when the server answers so."""
    asked = httpx.Request("POST", "http://server.example/api/deployments/")
    return PrefectHTTPStatusError("no", request=asked, response=httpx.Response(status, text="not so", request=asked))


def as_kept(sent: Mapping[str, Any]) -> SimpleNamespace:
    """What a server has of a deployment that was sent."""
    limit = sent["concurrency_limit"]
    kept_limit = SimpleNamespace(limit=limit, active=True) if limit else None
    return SimpleNamespace(id=uuid4(), **sent, global_concurrency_limit=kept_limit)


class FakeClient:
    """A FAKE of the client: what was sent is what is there, by FLOW/DEPLOYMENT.

    `errors`: what sending one raises. `sent`: the names, in turn.
    """

    def __init__(self) -> None:
        self.kept: dict[str, SimpleNamespace] = {}
        self.flows: dict[str, UUID] = {}
        self.errors: dict[str, Exception] = {}
        self.sent: list[str] = []

    def create_flow_from_name(self, name: str) -> UUID:
        return self.flows.setdefault(name, uuid4())

    def create_deployment(self, **sent: Any) -> UUID:
        [flow] = [name for name, id in self.flows.items() if id == sent["flow_id"]]
        name = f"{flow}/{sent['name']}"
        if name in self.errors:
            raise self.errors[name]
        self.kept[name] = as_kept(sent)
        self.sent.append(name)
        return self.kept[name].id

    def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        if name not in self.kept:
            raise ObjectNotFound(Exception(name))
        return self.kept[name]

    def read_flows(self, **_: Any) -> list[SimpleNamespace]:
        return [SimpleNamespace(id=id, name=name) for name, id in self.flows.items()]

    def read_deployments(self, **_: Any) -> list[SimpleNamespace]:
        return list(self.kept.values())

    @property
    def as_client(self) -> SyncPrefectClient:
        return cast(SyncPrefectClient, self)

    def form(self, name: str) -> dict[str, Any]:
        """What the form of one agent says, as the UI edits it."""
        parameters = dict(self.kept[name].parameters)
        parameters["parameters"] = form = dict(parameters["parameters"])
        self.kept[name].parameters = parameters
        return form


class FakeServer(Server):
    """A FAKE of the server in use: it answers while `is_up`, and its client is a fake."""

    def __init__(self, where: Home) -> None:
        super().__init__(where)
        self.fake, self.is_up = FakeClient(), True

    @property
    def answers(self) -> bool:
        return self.is_up

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        yield self.fake.as_client


def command(server: Server, folder: Path) -> Use:
    """`hotdesk use` of the agent `NAME`, run in a folder that holds `mails`."""
    (folder / "mails").write_text("From x\n")
    return lambda agent=NAME, **wishes: "\n".join(run_use(agent, Wishes(**wishes), cwd=folder, server=server))


def own() -> dict[str, Any]:
    """What that agent was told in place of what is written."""
    use = use_of(NAME)
    return use.parameters if use else {}
