"""What a loader returns."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadedText:
    """The text of one file; chunk offsets count its characters.

    Attributes:
        text: Decoded, without byte order mark, line breaks as they are.
        mime: Media type, which decides how it is cut.
        title: For people: the first heading, or the file's name.
        encoding: What it was decoded from, for example `utf-8`.
        note: Something its owner should know, or an empty string.
    """

    text: str
    mime: str
    title: str
    encoding: str = "utf-8"
    note: str = ""


Loader = Callable[[str, bytes], LoadedText]
"""Makes text of a source, given its URI and content; raises DocumentError when it cannot."""
