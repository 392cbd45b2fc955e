"""Agents and supervisors as LangGraph state graphs."""
