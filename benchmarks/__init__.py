"""Benchmarks: ops at the real shapes of Inception v3, the whole network, and any other op, side by side on every backend.

test_conv2d.py, test_ops.py and test_inception_v3.py run under ``pytest benchmarks`` (options: conftest.py) and check every
result before they time it. test_every_op.py, which ``-k NAME`` or ``--every-op`` adds, has a case of every contract that has
conformance cases (measured.py says which one), so a new op needs no edit here.
table.py prints, plot.py draws, peak.py measures what the machine could do at most.
precisions.py says what stands for an op in bf16 and int8, precision_accuracy.py how exact each precision is.
peers/ compares Inception v3 with other runtimes, in turn in one run; nets/ other networks, ops/ single ops.
"""
