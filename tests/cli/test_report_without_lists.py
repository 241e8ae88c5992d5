"""A report of an evaluation that kept no lists says so, and draws none."""


def test_a_report_says_where_no_list_was_kept(toy_cli, tmp_path):
    assert toy_cli("baseline", "popularity", "--data", "toy").code == 0
    assert toy_cli("eval", "popularity-1", "--exact-to", "20", "--top", "0").code == 0
    made = toy_cli("runs", "report", "popularity-1", "--out", tmp_path / "bare.html")
    assert made.code == 0, made.err
    bare = (tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "no list was kept (<code>--top 0</code>)" in bare
    assert 'class="gap"' not in bare
    assert toy_cli("eval", "popularity-1").code == 0
    assert toy_cli("runs", "report", "popularity-1", "--out", tmp_path / "whole.html").code == 0
    assert "no list was kept" not in (tmp_path / "whole.html").read_text(encoding="utf-8")
