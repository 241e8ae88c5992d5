"""The benchmark of two programs on one machine, on evaluations that take no time."""

from benchmarks import sharing


def test_both_ways_are_timed(monkeypatch, tmp_path):
    monkeypatch.setattr(sharing.sys, "executable", "true")
    one_by_one, at_once = sharing.evaluations("run", 1, str(tmp_path), {})
    assert one_by_one > 0
    assert at_once > 0
