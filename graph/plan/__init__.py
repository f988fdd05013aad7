"""From a graph to something that runs: cut, partition, lower, choose kernels, lay out memory, bind, run.

cut.py        what a set of fetches and feeds needs of a graph
branches.py   which sides of Switch and Merge are live
groups.py     grouped convolutions become ops that have contracts
partition.py  stages: parts whose shapes are known together
lowering.py   nodes to steps: contract, parameters, chosen kernel, device, copies between devices
memory.py     concat by slices, lifetimes, one arena per device
split_slices.py  splits by slices
readers.py    what can read a slice
direct.py     feeds read where they are, results written where they stay
context.py    memory for a run, and steps bound to it
stage.py      a compiled stage, and its contexts
compiling.py  a part to a stage
images.py     a batch run image by image
staged.py     ops without kernels: loops.py, lists.py (TensorArrays), draws.py and philox.py (random numbers)
runner.py     plans for fetches and feeds, kept and run; predicates that are computed first
calls.py      runs that were made before, found by one look-up
plan.py       the stages one after the other; explain()
explain.py    the texts
lru.py        a bounded map, for what a session has compiled
"""

from __future__ import annotations

from .plan import Plan

__all__ = ["Plan"]
