"""The graph for LangGraph's own server: `langgraph dev` serves it, langgraph.json names it."""

from agentkit.wiring.dev import served

graph = served("@NAME@")
