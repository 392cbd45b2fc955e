"""Deciding on tool calls that wait: asking at the terminal, and the options of `agentkit resume`."""

import json
import shlex
import sys
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from agentkit.cli.session import err, out

if TYPE_CHECKING:
    from agentkit.services.chat import Pause, WaitingCall

PAUSED = 3
"""Exit status of a command whose turn waits for a person."""

_UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # control characters and those that turn text around

_ASKED = {
    "approve": "[a]pprove",
    "edit": "[e]dit",
    "reject": "[r]eject",
    "respond": "[s]ay the result",
}
_KEYS = {"a": "approve", "e": "edit", "r": "reject", "s": "respond"}


def plain(value: object) -> str:
    """A value as JSON in which nothing is hidden: who decides must see what will run."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(f"\\u{ord(sign):04x}" if unicodedata.category(sign) in _UNSEEN else sign for sign in text)


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return out.is_terminal and sys.stdin.isatty()


def asked(pauses: "Sequence[Pause]") -> dict[str, Any]:
    """Ask about each pause; what is left for later is not in the result. After Ctrl-C nothing is."""
    decisions: dict[str, Any] = {}
    try:
        for pause in pauses:
            answers = [_ask(pause, call) for call in pause.calls] if pause.calls else [_question(pause)]
            if None not in answers:
                decisions[pause.id] = answers if pause.calls else answers[0]
    except (EOFError, KeyboardInterrupt):
        out.print()
        return {}
    return decisions


def _ask(pause: "Pause", call: "WaitingCall") -> dict[str, Any] | None:
    _show(pause, call)
    offered = ", ".join([*(_ASKED[decision] for decision in call.decisions), "[l]ater"])
    while True:
        said = out.input(f"{offered}? ", markup=False).strip().lower()
        if said in ("l", "later"):
            return None
        decision = _KEYS.get(said, said)
        if decision not in call.decisions:
            continue
        if decision == "approve":
            return {"type": "approve"}
        if decision == "edit":
            return {"type": "edit", "args": _edited(call)}
        if decision == "reject":
            return {"type": "reject", "message": out.input("why (told to the model): ").strip()}
        if said := out.input("result: ").strip():
            return {"type": "respond", "message": said}


def _edited(call: "WaitingCall") -> dict[str, Any]:
    while True:
        said = out.input(f"arguments, now {plain(call.args)}: ", markup=False).strip()
        try:
            return _object(said)
        except ValueError as error:
            err.print(str(error), style="red", markup=False)


def _question(pause: "Pause") -> str | None:
    out.print(f"[bold]{pause.agent}[/] asks ", end="")
    out.print(plain(pause.question), markup=False)
    return out.input("answer (empty: later): ").strip() or None


def _show(pause: "Pause", call: "WaitingCall") -> None:
    out.print(f"[bold]{pause.agent}[/] waits to call ", end="")
    out.print(f"{call.name} {plain(call.args)}", markup=False)
    if call.description:
        out.print(call.description, style="dim", markup=False)


def show_commands(pauses: "Sequence[Pause]", blueprint: str, thread: str, *, quiet: bool) -> None:
    """Say what waits (unless `quiet`), and on standard error with which commands it is answered."""
    place = f"{shlex.quote(blueprint)} {shlex.quote(thread)}"
    for pause in pauses:
        for call in pause.calls if not quiet else ():
            _show(pause, call)
        if not pause.calls and not quiet:
            out.print(f"{pause.agent} asks {plain(pause.question)}", markup=False)
        err.print(f"agentkit resume {place} --interrupt {pause.id} {_options(pause)}", markup=False)


def _options(pause: "Pause") -> str:
    shown = {
        "approve": "--approve",
        "edit": "--edit JSON",
        "reject": "--reject TEXT",
        "respond": "--respond TEXT",
    }
    allowed = pause.calls[0].decisions if pause.calls else ("respond",)
    return " | ".join(shown[decision] for decision in allowed)


def decision_of(*, approve: bool, edit: str | None, reject: str | None, respond: str | None) -> Any:
    """The decision of the options; None when there is none.

    Raises:
        BadParameter: There are several, or the arguments are no JSON object.
    """
    given: list[dict[str, Any]] = [{"type": "approve"}] if approve else []
    if edit is not None:
        try:
            given.append({"type": "edit", "args": _object(edit)})
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--edit") from None
    given += [{"type": "reject", "message": reject}] if reject is not None else []
    given += [{"type": "respond", "message": respond}] if respond is not None else []
    if len(given) > 1:
        raise typer.BadParameter("--approve, --edit, --reject and --respond exclude each other.")
    return given[0] if given else None


def chosen(pauses: "Sequence[Pause]", interrupt: str | None, decision: dict[str, Any]) -> dict[str, Any]:
    """The decision with the id of the pause it is for: the only one, or the one that `interrupt` begins.

    Raises:
        BadParameter: Several could be meant.
    """
    found = [pause for pause in pauses if interrupt is None or pause.id.startswith(interrupt)]
    if len(found) > 1:
        listed = "; ".join(f"{pause.id} ({_called(pause)})" for pause in found)
        raise typer.BadParameter(f"Several wait: {listed}. Name one.", param_hint="--interrupt")
    if not found:
        return {interrupt or "": decision}
    (pause,) = found
    if not pause.calls and decision["type"] != "respond":
        raise typer.BadParameter(f"{pause.agent} asks something: answer it with --respond TEXT.")
    answer = decision if pause.calls else decision["message"]
    return {pause.id: [answer] * len(pause.calls) if pause.calls else answer}


def _called(pause: "Pause") -> str:
    return ", ".join(f"{pause.agent}: {call.name}" for call in pause.calls) or pause.agent


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"This is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ValueError('Arguments are a JSON object, like {"name": "web"}.')  # noqa: TRY004
    return value  # pyright: ignore[reportUnknownVariableType] - JSON
