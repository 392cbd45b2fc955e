"""What an MCP tool returned, as text for a model.

Not every model takes pictures in a tool's result, and some providers refuse the whole
request for one; so what is no text is named, with its size, and left out.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "(The tool returned nothing.)"


def as_text(content: Sequence[Any], structured: Mapping[str, Any] | None) -> str:
    """Return the content blocks of a `CallToolResult` as text.

    Args:
        content: Blocks as MCP defines them (specification 2025-06-18, server/tools, Tool Result).
        structured: The structured result; used when there are no blocks.
    """
    parts = [_block(block) for block in content]
    if not parts and structured is not None:
        return json.dumps(structured, ensure_ascii=False, default=str)
    return "\n".join(part for part in parts if part) or NOTHING


def _block(block: Any) -> str:
    match getattr(block, "type", ""):
        case "text":
            return str(block.text)
        case "image" | "audio" as kind:
            return _left_out(kind, block.mimeType, block.data)
        case "resource_link":
            about = f": {block.description}" if block.description else ""
            return f"[link to {block.name}, {block.uri}{about}]"
        case "resource":
            return _resource(block.resource)
        case kind:
            return f"[{kind or 'something'}: left out, it is no text]"


def _resource(resource: Any) -> str:
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        return text
    return _left_out(f"file {resource.uri}", resource.mimeType, getattr(resource, "blob", ""))


def _left_out(kind: str, mime: str | None, data: str) -> str:
    size = len(data) * 3 // 4 - data[-2:].count("=")  # base64, RFC 4648
    return f"[{kind}, {mime or 'of unknown type'}, {size} bytes: left out, it is no text]"
