"""What a machine that cannot isolate code says; where all backends work there is nothing to refuse."""

from .here import BACKENDS, refusals


def test_who_refuses_says_why_and_what_to_do() -> None:
    for name in set(BACKENDS) & refusals().keys():
        reason = refusals()[name]
        assert len(reason.splitlines()) >= 2, f"{name} has no remedy: {reason}"
