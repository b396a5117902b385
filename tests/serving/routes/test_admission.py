from __future__ import annotations

import pytest

from serving.errors import BusyError
from serving.routes.admission import Admission


def test_work_is_let_in_up_to_the_limit_and_given_back() -> None:
    admission = Admission(max_images=3, max_bytes=100)
    with admission.admit() as first:
        first.count_images(2)
        with admission.admit():
            with pytest.raises(BusyError, match="3 images are waiting already") as caught:
                admission.admit()
            assert caught.value.headers == {"Retry-After": "1"}
            assert caught.value.status == 503
        assert admission.images == 2
        with admission.admit():
            pass
    assert admission.images == 0


def test_a_request_that_grows_past_the_limit_is_refused_and_leaves_nothing() -> None:
    admission = Admission(max_images=3, max_bytes=100)
    with admission.admit(), pytest.raises(BusyError), admission.admit() as second:
        second.count_images(3)
    assert admission.images == 0


def test_a_request_that_is_alone_may_be_larger_than_the_limits() -> None:
    admission = Admission(max_images=3, max_bytes=100)
    with admission.admit() as alone:
        alone.count_bytes(500)
        alone.count_images(50)
        with pytest.raises(BusyError):
            admission.admit()
    assert (admission.images, admission.size_bytes) == (0, 0)


def test_bytes_that_are_held_are_counted_too() -> None:
    admission = Admission(max_images=3, max_bytes=100)
    with admission.admit() as first, admission.admit() as second:
        first.count_bytes(60)
        second.count_bytes(40)
        with pytest.raises(BusyError, match="100 bytes are held already"):
            second.count_bytes(1)
    assert admission.size_bytes == 0
