"""Thousands of categories: what one more costs a dry run is small, and does not grow with their number."""

from pathlib import Path

from tests.benchmarks.scale import call, write_index


def test_a_category_more_costs_a_dry_run_little(tmp_path: Path) -> None:
    few, many = (call(write_index(tmp_path / str(n), n, 2), "all_tables", "-n") for n in (10, 110))
    assert many.jobs - few.jobs == 400
    # Six times what it takes.
    assert (many.seconds - few.seconds) / 100 < 0.1
    assert (many.megabytes - few.megabytes) / 100 < 1
