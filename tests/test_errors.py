import pytest

from agentkit import errors
from agentkit.errors import (
    AgentKitError,
    BlueprintError,
    MissingExtraError,
    Problem,
    ProviderError,
    UnknownNameError,
)


def error_classes() -> list[type[AgentKitError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, AgentKitError) and not cls.__name__.startswith("_")]


def test_the_docstring_draws_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in error_classes() if cls.__name__ not in drawn] == []


def test_codes_are_distinct_and_stable_words() -> None:
    codes = [cls.code for cls in error_classes()]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and " " not in code for code in codes)


def test_an_unknown_name_lists_the_valid_ones_and_the_nearest() -> None:
    error = UnknownNameError("provider", "olama", ["ollama", "local"])
    assert str(error) == "Unknown provider 'olama'. Did you mean 'ollama'? Valid: local, ollama."
    assert isinstance(error, LookupError)


def test_an_unknown_name_without_any_choice_says_so() -> None:
    assert str(UnknownNameError("scope", "x", [])) == "Unknown scope 'x'. There is no scope yet."


def test_a_missing_extra_is_the_pip_command() -> None:
    error = MissingExtraError("xllamacpp", "local", purpose="The local chat model")
    assert "pip install 'langgraph-agentkit[local]'" in str(error)
    assert isinstance(error, ImportError)


def test_a_problem_shows_place_line_and_pointer() -> None:
    problem = Problem("unknown key", file="b.yaml", line=3, column=5, excerpt="    nmae: x")
    assert str(problem) == "b.yaml:3:5: unknown key\n        nmae: x\n        ^"


def test_all_problems_are_in_the_text() -> None:
    error = BlueprintError("2 problems.", [Problem("one"), Problem("two", file="f", line=1)])
    assert str(error) == "2 problems.\none\nf:1: two"
    assert len(error.problems) == 2


def test_a_provider_error_carries_what_wrappers_read() -> None:
    error = ProviderError("busy", provider="p", status=429, retry_after=2.0, is_retryable=True)
    assert (error.provider, error.status, error.retry_after, error.is_retryable) == ("p", 429, 2.0, True)


@pytest.mark.parametrize("cls", [AgentKitError, errors.DatabaseError, errors.WeightsError])
def test_the_hint_is_part_of_the_text(cls: type[AgentKitError]) -> None:
    assert str(cls("It broke.", hint="Mend it.")) == "It broke.\nMend it."
