from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
import torch
from hypothesis import settings

# Small tensors on shared cores: one thread is faster than several, and sums keep their order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# As the service has it: cuDNN's convolutions would round to 10 bits unasked.
torch.backends.cudnn.allow_tf32 = False

# A shell lets what it starts in the background ignore Ctrl-C, and so would what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: what fails here fails everywhere.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is marked ``gpu`` needs one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where ``PATCHBAY_EXPECTED_SKIPS`` names reasons, a skip for another one is a failure."""
    report = yield
    expected = os.environ.get("PATCHBAY_EXPECTED_SKIPS")
    if expected is not None and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if not any(one.strip() in reason for one in expected.split(";")):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that was not expected here: {reason}"
    return report
