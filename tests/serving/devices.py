"""Where a service runs that is tested on every device."""

from __future__ import annotations

from typing import Literal

import pytest

Device = Literal["cpu", "cuda"]

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
