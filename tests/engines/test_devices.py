from __future__ import annotations

import cv2
import pytest

from custom_components.engines.devices import limit_threads


@pytest.mark.parametrize(("given", "threads"), [("1", 1), ("2,1", 2), ("", None), ("0", None), ("all", None)])
def test_opencv_takes_as_many_threads_as_the_other_libraries_are_given(given: str, threads, monkeypatch) -> None:
    before = cv2.getNumThreads()
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    try:
        cv2.setNumThreads(3)
        limit_threads()
        assert cv2.getNumThreads() == (3 if threads is None else threads)
    finally:
        cv2.setNumThreads(before)
