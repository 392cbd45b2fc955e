"""Where not every backend can run, the tests that need them are not collected: test_here.py looks at why.

Not skipped one by one, because a skip fails CI, and a machine that forbids namespaces is no fault of ours.
"""

from .here import refusals

collect_ignore = (
    []
    if not refusals()
    else [
        "test_attacks.py",
        "test_choosing.py",
        "test_code_execute.py",
        "test_contract.py",
        "test_doctor.py",
        "test_supervision.py",
    ]
)
