"""What frozen graphs and SavedModels share: the functions of a graph's library, its loops, and the graph built of them.

functions.py     calls of functions are replaced by the nodes of their bodies
"""

__all__: list[str] = []
