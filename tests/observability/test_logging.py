import json
import logging
from collections.abc import Iterator
from dataclasses import fields

import pytest

from agentkit import events
from agentkit.events import Event, RouteDecided, StageStarted
from agentkit.observability.logging import configure_logging, log_event

ROUTED = RouteDecided(blueprint="b", agents=("a",), method="semantic", duration=0.1, request_id="r1")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_json_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log_event(ROUTED)
    written = capsys.readouterr()
    assert written.out == ""
    line = json.loads(written.err)
    assert (line["event"], line["request_id"], line["level"]) == ("RouteDecided", "r1", "info")
    assert line["logger"] == "agentkit.events"


def test_other_libraries_get_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    logging.getLogger("httpx").warning("slow %s", "host")
    logging.getLogger("httpx").info("not shown")
    assert json.loads(capsys.readouterr().err)["event"] == "slow host"


def test_the_console_shape_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    log_event(ROUTED)
    assert "RouteDecided" in capsys.readouterr().err


def test_progress_and_unconfigured_logging_stay_silent(capsys: pytest.CaptureFixture[str]) -> None:
    log_event(ROUTED)
    configure_logging("info", "json")
    log_event(StageStarted("x"))
    assert capsys.readouterr() == ("", "")


def test_no_field_of_an_event_collides_with_a_log_record() -> None:
    taken = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    records = [
        value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)
    ]
    colliding = {
        field.name
        for record in records
        if record.__name__ != "DownloadProgressed"
        for field in fields(record)
    }
    assert colliding & taken == set()
