"""What a person may decide about a tool call that waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from agentkit.errors import unknown

DecisionType = Literal["approve", "edit", "reject", "respond"]
DECISIONS: tuple[DecisionType, ...] = get_args(DecisionType)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about a call.

    Attributes:
        type: `approve`, `edit`, `reject` or `respond`.
        args: For `edit`: all arguments to run the call with.
        message: For `reject`: why, told to the model; for `respond`: the answer in the tool's place.
    """

    type: DecisionType
    args: Mapping[str, Any] | None = None
    message: str = ""

    @classmethod
    def parse(cls, value: object) -> "Decision":
        """Return the decision that `"approve"` or `{"type": "edit", "args": {…}}` says.

        Raises:
            ValueError: It is none; the text says what one looks like.
        """
        if isinstance(value, Decision):
            return value
        fields: object = {"type": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping):
            raise ValueError("A decision is its type, or a mapping: {type: edit, args: {…}}.")  # noqa: TRY004
        given = {str(key): item for key, item in cast("Mapping[Any, Any]", fields).items()}
        kind = given.get("type")
        if kind not in DECISIONS:
            raise ValueError(unknown("decision", kind, DECISIONS))
        wanted = {"edit": "args", "reject": "message", "respond": "message"}.get(kind)
        for key in given:
            if key not in ("type", wanted):
                raise ValueError(f"A decision {kind!r} has no {key!r}.")
        args, message = given.get("args"), given.get("message", "")
        if kind == "edit" and not isinstance(args, Mapping):
            raise ValueError("A decision 'edit' has 'args', the arguments to run the call with.")
        if not isinstance(message, str) or (kind == "respond" and not message.strip()):
            raise ValueError(f"A decision {kind!r} has 'message', a text.")
        return cls(kind, cast("Mapping[str, Any] | None", args), message)

    def answer(self, tool: str) -> dict[str, Any]:
        """What LangChain's middleware understands, about a call of `tool`."""
        if self.type == "edit":
            return {"type": "edit", "edited_action": {"name": tool, "args": dict(self.args or {})}}
        if self.type == "respond" or (self.type == "reject" and self.message):
            return {"type": self.type, "message": self.message}
        return {"type": self.type}
