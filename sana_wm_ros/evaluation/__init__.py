"""Measure and show: reports, film strips, benchmarks."""
