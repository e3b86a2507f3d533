"""log-watch: what logs and test runs complain about, for whoever is on call. Code counts, a model only words it."""

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import agent
from blocks.checking.causes import choice_of, rule_for
from blocks.checking.clusters import clusters_json
from blocks.checking.watched import Form, Level, alarm_of, page, watch, with_causes
from blocks.parameters import AgentParameters
from blocks.reading.earlier import FILE
from blocks.reading.prompts import read_prompt
from blocks.untrusted import as_data
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

LINE_CHARACTERS = 300


class LogWatchParameters(AgentParameters):
    """A log (or a folder of JUnit XML files) to cluster; the model puts the first clusters into words."""

    form: Form = Field(default=Form.LOG, description="log: plain, access or journal as JSON lines; junit: test runs.")
    pattern: str = Field(default="", description="Regular expression of the lines wanted; empty: warnings and up.")
    alarm_at: Level = Field(default=Level.CRITICAL, description="Alarm where a cluster is of this level or above.")
    max_runs: int = Field(default=20, ge=2, le=200, description="Of test runs, the newest ones.")
    prompt_file: str = "flows/prompts/log_watch.md"


@flow(name="log-watch", persist_result=False)
def log_watch(parameters: LogWatchParameters) -> State:
    """Read -> cluster and count (code) -> a sentence for the first clusters -> check -> write page and clusters."""
    with agent(parameters) as run:
        watched = watch(parameters, run.folder, run.day)
        run.saw(parameters.source, watched.sha256)
        prompt = read_prompt(parameters.prompt_file)
        top = watched.clusters[: run.items(parameters.max_items)]
        answers = run.ask_all(
            [
                ModelRequest(
                    kind=Kind.EXTRACT,
                    prompt=prompt.safe_substitute(text=as_data(cluster.example, LINE_CHARACTERS)),
                    json_schema=choice_of(as_data(cluster.example, LINE_CHARACTERS)),
                    max_tokens=parameters.max_tokens,  # uncapped: an object that is cut is none
                    verifier=rule_for(as_data(cluster.example, LINE_CHARACTERS)),
                )
                for cluster in top
            ]
        )
        told = with_causes(watched, answers)
        files = {"clusters.json": clusters_json(told.clusters, told.causes), FILE: told.history.text()}
        alarm = alarm_of(told, parameters.alarm_at)
        run.write(f"Log watch: {run.agent}", page(told, answers), files=files, alarm=alarm)
    return run.state
