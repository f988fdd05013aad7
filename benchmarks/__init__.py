"""Benchmarks: every op at the real shapes of Inception v3, and the whole network, side by side on every backend.

test_conv2d.py, test_ops.py and test_inception_v3.py run under ``pytest benchmarks`` (options: conftest.py) and check every
result before they time it. table.py prints, plot.py draws, peak.py measures what the machine could do at most.
peers/ compares Inception v3 with other runtimes, in turn in one run.
"""
