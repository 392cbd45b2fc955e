"""What a supervised run carries; plain dictionaries, so that every checkpoint and stream is JSON."""

import operator
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

RouteMethod = Literal["rules", "semantic", "llm", "direct"]

PartStatus = Literal["answered", "limited", "failed", "timeout"]

LimitName = Literal["tool_iterations", "model_calls", "tokens", "cost_usd"]


class RouteDecision(TypedDict):
    """Who answers, and why.

    Attributes:
        agents: Chosen agents in order, which is also the order of their answers; empty when
            the supervisor answers itself.
        method: Strategy that decided; `direct` when none chose an agent.
        scores: Score of each agent and of the supervisor in [-1, 1], where a strategy that was
            asked computes them; also when another one decided in the end.
        reason: One sentence a person can read.
    """

    agents: list[str]
    method: RouteMethod
    scores: dict[str, float]
    reason: str


class Source(TypedDict):
    """A passage the answer may cite as `[index]`.

    Attributes:
        index: 1-based number the model saw.
        uri: Document it comes from, as ingested; relative paths use `/`.
        title: Title of the document.
        heading: Headings above the passage, outermost first, joined by ` > `.
        start_line: 1-based first line.
        end_line: 1-based last line.
        page: 1-based page of a paged document, or None.
        scope: Knowledge scope it was found in.
        score: Fused rank score; comparable within one retrieval only.
        similarity: Cosine similarity to the question in [-1, 1], or None for a purely lexical hit.
        text: The passage.
    """

    index: int
    uri: str
    title: str
    heading: str
    start_line: int
    end_line: int
    page: int | None
    scope: str
    score: float
    similarity: float | None
    text: str


class ReachedLimit(TypedDict):
    """A limit that ended somebody's work before it was done.

    Attributes:
        agent: Who stopped: an agent, or `supervisor`.
        limit: Key of the limit under `limits`.
        of: Whether it is the agent's own limit or one of a team it works in.
        allowed: The limit itself: rounds, calls, tokens or US dollars.
        spent: How much of it was spent, or None when that is unknown.
    """

    agent: str
    limit: LimitName
    of: Literal["agent", "team"]
    allowed: float
    spent: float | None


class AgentPart(TypedDict):
    """What one of several agents contributed to a turn.

    Attributes:
        agent: Who.
        status: How it ended; `limited` when a limit did before it had found anything.
        text: Its answer; once joined, with `[n]` numbered as in the state's `sources`. Where
            it has none, the sentence the user reads instead.
        error: Class name of the error that ended it, or an empty string. Its text is in the
            log only: it may name things users should not see.
        model: Model that answered, or an empty string.
        sources: What it found, until the parts are joined; empty then.
        prompts: Labels of the prompt versions it answered with.
        limits_reached: Limits that ended its work; absent when there are none.
        output: The object its answer is, where it has an output schema; absent elsewhere.
    """

    agent: str
    status: PartStatus
    text: str
    error: str
    model: str
    sources: list[Source]
    prompts: NotRequired[list[str]]
    limits_reached: NotRequired[list[ReachedLimit]]
    output: NotRequired[Any]


class ConversationSummary(TypedDict):
    """What was said before, in short; for agents that are given no more of it.

    Attributes:
        text: The summary.
        until: Id of the last message it covers.
    """

    text: str
    until: str


StopReason = Literal["loop", "max_hops"]


class Hop(TypedDict):
    """One agent's visit in a turn in which a question was handed on.

    Attributes:
        agent: Who was asked.
        by: Who asked: an agent, or `supervisor` for the first.
        task: What was asked.
        worked: Whether it ran a tool before it handed on; False while it is at it, or answered.
    """

    agent: str
    by: str
    task: str
    worked: bool


class SupervisorState(TypedDict):
    """State of a supervisor graph; `messages` is the conversation the user sees.

    Attributes:
        messages: User messages and final answers; an agent's tool calls stay inside the agent,
            unless it hands back everything.
        route: Decision for the last user message.
        sources: Passages found for the last user message, each with a number of its own.
        parts: What each agent contributed to the last answer, in the route's order; empty
            when fewer than two were asked.
        limits_reached: Limits that cut the last answer short; its text says so too.
        output: The object the last answer is, where one agent with an output schema gave it.
        summary: Summary of the conversation, where an agent needs one.
        teams: Decisions of the teams among the agents that were asked, by the team's name; of
            a team in a team, by `outer/inner`.
        hops: The agents that were asked one after another, where the question was handed on;
            empty when it was not.
        stopped: Why a question was not handed on any more, so that nobody answered it; else None.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    route: NotRequired[RouteDecision]
    sources: NotRequired[Annotated[list[Source], operator.add]]
    parts: NotRequired[Annotated[list[AgentPart], operator.add]]
    limits_reached: NotRequired[Annotated[list[ReachedLimit], operator.add]]
    output: NotRequired[Any]
    summary: NotRequired[ConversationSummary | None]
    teams: NotRequired[Annotated[dict[str, RouteDecision], operator.or_]]
    hops: NotRequired[list[Hop]]
    stopped: NotRequired[StopReason | None]


class AgentInput(TypedDict):
    """What the supervisor sends to one agent.

    Attributes:
        messages: The conversation so far.
        alone: Whether it is the only one asked, so that its answer is the answer and its
            failure the run's.
        summary: The message that stands for the conversation, for an agent that is given that;
            empty when there is none.
        hops: The visits so far, its own last, if the question was handed to it.
        above: What it is shown above the question then.
    """

    messages: list[AnyMessage]
    alone: bool
    summary: NotRequired[str]
    hops: NotRequired[list[Hop]]
    above: NotRequired[str]
