"""A blueprint as an SVG picture, drawn here: no browser, no network, no layout program.

The team is a star, so its layout is a column: the supervisor on the left, the agents as
cards below each other, the answer on the right.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agentkit.blueprints.agents import AgentSpec
from agentkit.blueprints.handoffs import targets
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.blueprints.schema import Blueprint
from agentkit.blueprints.teams import TeamSpec

# Pixels. Text is 13 high and at most 7.3 wide a character in the usual sans-serif fonts.
_CARD, _SIDE, _GAP, _MARGIN = 400, 220, 90, 24
_LINE, _PADDING, _BETWEEN = 19, 14, 22
_CHARACTER = 7.3
_BORDER, _INK, _QUIET = "#64748b", "#0f172a", "#475569"
_FILLS = {"supervisor": "#dbeafe", "agent": "#f8fafc", "end": "#dcfce7"}
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Card:
    """A box with a title and lines under it."""

    kind: str
    title: str
    lines: tuple[str, ...]
    width: int

    @property
    def height(self) -> int:
        return 2 * _PADDING + _LINE * (1 + len(self.lines))


_NO_TEAMS: Mapping[str, LoadedBlueprint] = MappingProxyType({})


def svg(blueprint: Blueprint, teams: Mapping[str, LoadedBlueprint] = _NO_TEAMS) -> str:
    """Return the picture as SVG 1.1: who is routed to, with which model, knowledge and tools.

    Args:
        blueprint: What is drawn.
        teams: Those of its agents that are blueprints, as in `LoadedBlueprint`.
    """
    supervisor = _supervisor(blueprint)
    agents = [
        _agent(member, blueprint) if isinstance(member, AgentSpec) else _team(member, teams[member.name])
        for member in blueprint.members
    ]
    answer = _Card("end", "answer", (), _SIDE // 2)
    column = sum(card.height + _BETWEEN for card in agents) - _BETWEEN
    # Above the agents, the way of a message that no agent fits.
    top = _MARGIN + 2 * _LINE
    height = top + max(column, supervisor.height) + _MARGIN
    middle = top + (height - top - _MARGIN) / 2
    left, right = _MARGIN + _SIDE + _GAP, _MARGIN + _SIDE + 2 * _GAP + _CARD
    root = _root(blueprint, right + answer.width + _MARGIN, height)
    _direct(root, middle - supervisor.height / 2, right + answer.width / 2, middle - answer.height / 2)
    y: float = top + max(0, (supervisor.height - column) / 2)
    for card in agents:
        center = y + card.height / 2
        _arrow(root, _curve(_MARGIN + _SIDE, middle, left, center))
        _arrow(root, _curve(left + _CARD, center, right, middle))
        _box(root, card, left, y)
        y += card.height + _BETWEEN
    _box(root, supervisor, _MARGIN, middle - supervisor.height / 2)
    _box(root, answer, right, middle - answer.height / 2)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _supervisor(blueprint: Blueprint) -> _Card:
    strategies = "routing: " + " → ".join(blueprint.routing.strategy)
    model = f"model: {_model(blueprint.supervisor.model, blueprint)}"
    return _Card("supervisor", "supervisor", _wrapped((strategies, model), _SIDE), _SIDE)


def _agent(agent: AgentSpec, blueprint: Blueprint) -> _Card:
    lines = [agent.description, f"model: {_model(agent.model, blueprint)}"]
    if agent.knowledge_scope:
        lines.append(f"knowledge: {', '.join(agent.knowledge_scope)}")
    if agent.tools:
        lines.append(f"tools: {', '.join(tool.title for tool in agent.tools)}")
    if to := targets(agent, blueprint):
        lines.append(f"hands over to: {', '.join(to)}")
    return _card(agent.name, lines)


def _team(member: TeamSpec, team: LoadedBlueprint) -> _Card:
    """A team is one card: who is in it, line by line, those of a team in it further in."""
    routing = "team, routing: " + " → ".join(team.spec.routing.strategy)
    return _card(member.name, [member.description, routing, *_roster(team, "• ")])


def _roster(team: LoadedBlueprint, bullet: str) -> Iterator[str]:
    for member in team.spec.members:
        if isinstance(member, AgentSpec):
            yield f"{bullet}{member.name}: model {_model(member.model, team.spec)}"
        else:
            yield f"{bullet}{member.name}: team"
            yield from _roster(team.teams[member.name], f"•{bullet}")


def _card(name: str, lines: Sequence[str]) -> _Card:
    fits = _fitting(name, _CARD)
    title = name if len(name) <= fits else name[: fits - 1] + "…"
    return _Card("agent", title, _wrapped(lines, _CARD), _CARD)


def _model(name: str, blueprint: Blueprint) -> str:
    model = blueprint.models[name]
    return " ".join(part for part in (f"{name},", model.use or model.provider, model.model) if part)


def _wrapped(lines: Sequence[str], width: int) -> tuple[str, ...]:
    return tuple(part for line in lines for part in textwrap.wrap(line, _fitting(line, width)))


def _fitting(text: str, width: int) -> int:
    """How many characters of `text` fit into a box; those of East Asia are twice as wide."""
    wide = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    return int((width - 2 * _PADDING) / _CHARACTER) // (2 if wide else 1)


def _root(blueprint: Blueprint, width: float, height: float) -> Element:
    size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img"})
    SubElement(root, "title").text = _writable(f"{blueprint.name}: {blueprint.description}".strip(": "))
    definitions = SubElement(root, "defs")
    head = {"id": "head", "viewBox": "0 0 8 8", "refX": "8", "refY": "4", "markerWidth": "7"}
    marker = SubElement(definitions, "marker", {**head, "markerHeight": "7", "orient": "auto"})
    SubElement(marker, "path", {"d": "M0 0 L8 4 L0 8 z", "fill": _BORDER})
    SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    return root


def _direct(root: Element, start: float, x: float, end: float) -> None:
    """The way over the agents' heads, from the supervisor to the answer."""
    y = _MARGIN + _LINE
    _arrow(root, f"M{_MARGIN + _SIDE / 2:g} {start:g} V{y:g} H{x:g} V{end:g}")
    _text(root, "no agent fits", _MARGIN + _SIDE + _GAP, y - 6, _QUIET)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    return f"M{x:g} {y:g} C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"


def _arrow(root: Element, path: str) -> None:
    look = {"fill": "none", "stroke": _BORDER, "stroke-width": "1.5", "marker-end": "url(#head)"}
    SubElement(root, "path", {"d": path, **look})


def _box(root: Element, card: _Card, x: float, y: float) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": str(card.width), "height": str(card.height), "rx": "8"}
    SubElement(root, "rect", {**place, "fill": _FILLS[card.kind], "stroke": _BORDER})
    for number, line in enumerate((card.title, *card.lines)):
        baseline = y + _PADDING + _LINE * number + 14
        _text(root, line, x + _PADDING, baseline, _QUIET if number else _INK, bold=not number)


def _text(root: Element, text: str, x: float, y: float, color: str, *, bold: bool = False) -> None:
    look = {"font-family": "Helvetica, Arial, DejaVu Sans, sans-serif", "font-size": "13", "fill": color}
    weight = {"font-weight": "600"} if bold else {}
    SubElement(root, "text", {"x": f"{x:g}", "y": f"{y:g}", **look, **weight}).text = _writable(text)


def _writable(text: str) -> str:
    """Without what XML 1.0 cannot hold even escaped."""
    return _UNWRITABLE.sub("\ufffd", text)
