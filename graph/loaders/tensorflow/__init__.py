"""What frozen graphs and SavedModels share: the functions of a graph's library, its loops, and the graph built of them.

    functions.py     calls of functions are replaced by the nodes of their bodies
    frames.py        the loops of TensorFlow 1; attributes.py: the attributes of nodes as Python values
    saved_model.py   SavedModel folders; meta_graph.py: a graph with signatures, as they and training runs have it
    checkpoint.py    checkpoints; bundle.py: their index and data; strings.py: tensors of strings;
                     parts.py: of several parts; objects.py: whose they are; slices.py: the format before 2017
    variables.py     values in place of variables; restore.py: which value is whose; edges.py: walks along a graph's edges

A graph that was saved with variables becomes a frozen graph, whose constants are in the checkpoint's files.
"""

__all__: list[str] = []
