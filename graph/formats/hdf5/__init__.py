"""kigraph.graph.formats.hdf5: HDF5 files read without libhdf5, as far as h5py and Keras write them.

    objects.py       Hdf5File, Group, Dataset: what the loaders use
    blocks.py        bytes of the file by address, bounded and counted; Block, a cursor over them
    headers.py       object headers and their messages
    types.py         dataspace and datatype messages
    links.py         which objects a group names     attributes.py   attributes that are text
    heaps.py         local and global heaps          fractal.py      fractal heaps
    trees.py         B-trees of both versions
    layout.py        where a dataset's elements are  chunks.py       indexes of chunks     filters.py

Why not h5py: libhdf5 trusts the lengths and links that a file states. Files with three bytes changed kept it in an endless
loop, or made it take 784 MB for a file of 8 kB, and nothing in the process can stop it.

Read: superblocks 0 to 3; old and new groups; hard links; contiguous, compact and chunked data; deflate, shuffle,
fletcher32 and lzf; integers, IEEE floats and text. Every address is checked against the file, a structure is entered once,
and the bytes of structure that are parsed are bounded by the size of the file, so time and memory are too. Everything
else is a LoadError that names it. Format: "HDF5 File Format Specification Version 3.0", The HDF Group.
"""

from __future__ import annotations

from .objects import SIGNATURE, Dataset, Group, Hdf5File

__all__ = ["SIGNATURE", "Dataset", "Group", "Hdf5File"]
