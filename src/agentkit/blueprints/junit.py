"""Test results as JUnit XML, which CI systems show.

Elements and attributes are those of the schema that Jenkins and GitLab read
(https://github.com/testmoapp/junitxml describes the common core).
"""

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agentkit.blueprints.testing import CaseResult, Mismatch

# XML 1.0, 2.2: everything but tab, line breaks and these ranges cannot even be escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(blueprint: str, results: Sequence[CaseResult]) -> str:
    """Return the report: a test that ended in an unexpected error is an error, others a failure.

    Args:
        blueprint: Name of the suite.
        results: What `run_tests` returned.
    """
    errors = sum(_is_error(result) for result in results)
    totals = {
        "tests": str(len(results)),
        "failures": str(sum(not result.passed for result in results) - errors),
        "errors": str(errors),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    root = Element("testsuites", totals)
    suite = SubElement(root, "testsuite", {"name": _writable(blueprint), **totals, "skipped": "0"})
    for result in results:
        place = {"name": _writable(result.name), "classname": _writable(blueprint)}
        case = SubElement(suite, "testcase", {**place, "time": f"{result.seconds:.3f}"})
        if not result.passed:
            kind = "error" if _is_error(result) else "failure"
            first = result.mismatches[0]
            fault = SubElement(case, kind, {"type": first.key, "message": _writable(_line(first))})
            fault.text = _writable("\n".join([*map(_line, result.mismatches), *_scores(result)]))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _is_error(result: CaseResult) -> bool:
    return result.outcome.error is not None and any(fault.key == "error" for fault in result.mismatches)


def _line(fault: Mismatch) -> str:
    return f"{fault.key}: expected {fault.expected}, got {fault.got}"


def _scores(result: CaseResult) -> list[str]:
    return [f"{agent}: {score:.4f}" for agent, score in result.outcome.scores.items()]


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
