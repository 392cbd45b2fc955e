"""What one supervised turn costs besides the models: agentkit, langgraph-supervisor, a hand-written graph.

All three route one question to one of three agents and answer it, on the same scripted
model, in one process, turn by turn in rotation. Models answer at once, so what is measured
is the framework. Prints milliseconds (noise on a busy machine) and ratios (the point).

    python benchmarks/turn_overhead.py [--turns 300]
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from agentkit import build_agent, build_supervisor

AGENTS = {"kubernetes": "Pods and clusters.", "python": "Python code.", "systemarchitect": "Architecture."}
CHOSEN, ANSWER = "kubernetes", "Check the logs of the container that restarts."
QUESTION = {"messages": [("user", "My pod is in CrashLoopBackOff, what now?")]}
WARM_UP = 20

Turn = Callable[[], Awaitable[str]]


class Scripted(BaseChatModel):
    """Says the same replies over and over; as cheap as a LangChain model can be."""

    replies: Iterator[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=next(self.replies).model_copy())])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self


def model(*replies: AIMessage) -> Scripted:
    return Scripted(replies=itertools.cycle(replies))


def handwritten() -> Turn:
    """Two nodes, no framework above LangGraph: what a careful team would write themselves."""
    router, agent = model(AIMessage(json.dumps({"agent": CHOSEN}))), model(AIMessage(ANSWER))

    async def route(state: MessagesState) -> Command[str]:
        reply = await router.ainvoke([SystemMessage("Choose an agent."), *state["messages"]])
        return Command(goto=json.loads(reply.text)["agent"])

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await agent.ainvoke([SystemMessage("Answer."), *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("route", route, destinations=tuple(AGENTS))
    builder.add_edge(START, "route")
    for name in AGENTS:
        builder.add_node(name, answer)
        builder.add_edge(name, END)
    return turn(builder.compile())


def ours() -> Turn:
    """Routing by the model through structured output, as the `llm` strategy does it."""
    agents = [
        build_agent(name=name, model=model(AIMessage(ANSWER)), prompt="Answer.", description=description)
        for name, description in AGENTS.items()
    ]
    call = {"name": "route", "args": {"agent": CHOSEN}, "id": "1"}
    router = model(AIMessage("", tool_calls=[call]))
    return turn(build_supervisor(agents, model=router))


def langgraph_supervisor() -> Turn:
    """Its own way: handoff by tool call, then the supervisor passes the answer on."""
    from langgraph_supervisor import create_supervisor

    agents = [
        create_agent(model(AIMessage(ANSWER)), [], system_prompt="Answer.", name=name) for name in AGENTS
    ]
    handoff = AIMessage("", tool_calls=[{"name": f"transfer_to_{CHOSEN}", "args": {}, "id": "1"}])
    supervisor = create_supervisor(agents, model=model(handoff, AIMessage(ANSWER)), prompt="Choose an agent.")
    return turn(supervisor.compile())


def turn(graph: Any) -> Turn:
    async def run() -> str:
        return (await graph.ainvoke(QUESTION))["messages"][-1].text

    return run


async def measure(turns: int) -> dict[str, float]:
    """Median milliseconds a turn; the contestants take turns, so that load hits all of them."""
    contestants = {
        "hand-written": handwritten(),
        "agentkit": ours(),
        "langgraph-supervisor": langgraph_supervisor(),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(turns + WARM_UP):
        for name, run in contestants.items():
            started = time.perf_counter()
            answer = await run()
            elapsed = time.perf_counter() - started
            if answer != ANSWER:
                raise SystemExit(f"{name} answered {answer!r}")
            if number >= WARM_UP:
                times[name].append(elapsed * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=300)
    medians = asyncio.run(measure(parser.parse_args().turns))
    for name, milliseconds in medians.items():
        print(f"{name:22} {milliseconds:6.2f} ms")
    mine = medians["agentkit"]
    print(f"agentkit / langgraph-supervisor  {mine / medians['langgraph-supervisor']:.2f}  (goal <= 0.5)")
    print(f"agentkit / hand-written          {mine / medians['hand-written']:.2f}  (goal <= 1.6)")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
