"""The benchmark of large catalogs runs, on small ones."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.catalogs import made_up_titles

ROOT = Path(__file__).resolve().parent.parent


def test_made_up_titles_are_distinct_and_the_same_for_the_same_seed():
    titles = made_up_titles(3000, seed=1)
    assert len(set(titles)) == 3000
    assert titles == made_up_titles(3000, seed=1)
    assert titles != made_up_titles(3000, seed=2)


def test_made_up_titles_share_their_beginnings():
    beginnings = Counter(title.split()[0] for title in made_up_titles(3000))
    assert 10 < len(beginnings) < 2000


def test_the_benchmark_measures_every_step():
    command = [sys.executable, "-m", "benchmarks.catalogs", "--sizes", "50", "--json"]
    (line,) = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = json.loads(line)
    assert found["titles"] == found["distinct"] == 50
    assert found["nodes"] > found["branching"] > 0
    assert {"encode_seconds", "trie_seconds", "recall_seconds", "trie_peak_mb", "array_mb"} <= found.keys()
