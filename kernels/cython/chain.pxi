# Chains of elementwise maps: c/chain.h. Included by loops.pyx after elementwise.pxi.

from ..tensor import TensorType


cdef extern from "chain.h" nogil:
    enum:
        KI_CHAIN_STEPS, KI_CHAIN_ARRAYS, KI_CHAIN_OPERANDS
    ctypedef struct ki_chain_step:
        ki_map map
        # "from" is a keyword here
        int source "from"[2]
        int to
    ctypedef struct ki_chain_operand:
        const char *data
        ptrdiff_t image, pixel, channel
    ctypedef struct ki_chain:
        int steps, operands
        ptrdiff_t item, image_pixels
        ki_chain_step step[16]
        ki_chain_operand operand[24]
        const char *y
        ptrdiff_t pitch
    ctypedef struct ki_chain_args:
        ki_chain chain
        ptrdiff_t pixels, channels, x_pitch
        int threads
        const char *x
        char *y

cdef extern from "table.h" nogil:
    ctypedef struct ki_chain_table "ki_table":
        void (*run_chain)(const ki_chain_args *) noexcept nogil


cdef class ChainRun(LoopRun):
    """A bound chain: calling it computes y once, without the GIL.

    ``address``: of its ki_chain, for kernels that run it themselves.
    """

    cdef ki_chain_args args

    @property
    def address(self):
        return <size_t> &self.args.chain

    def __call__(self):
        with nogil:
            (<const ki_chain_table *> TABLE).run_chain(&self.args)


def bind_chain(inputs, input_types, output, output_type, *, steps, reaches, numbers, threads=1):
    """What runs a chain. ``inputs``: x and the operands, all of which may be channel slices.

    ``steps``: (map, from, from, to) as c/chain.h numbers values. ``reaches``: how each operand broadcasts. ``numbers``:
    an array of x's dtype with the numbers of the chain, which are its last operands.
    """
    cdef ChainRun run = ChainRun.__new__(ChainRun)
    cdef ki_chain *c = &run.args.chain
    cdef ki_chain_operand *o
    cdef View x = view(inputs[0], input_types[0], "input 0", False, True), one
    cdef View y = view(output, output_type, "the output", True, True)
    cdef int i, count = len(inputs) - 1
    cdef int dtype = DTYPE_INDEX[output_type.dtype.name]
    cdef ptrdiff_t item = output_type.dtype.itemsize
    dims = output_type.shape
    if len(steps) > KI_CHAIN_STEPS or count > KI_CHAIN_ARRAYS or count + len(numbers) > KI_CHAIN_OPERANDS:
        raise KernelError(f"a chain of {len(steps)} steps, {count} operands and {len(numbers)} numbers is too long")
    c.item, c.steps, c.operands = item, len(steps), count + len(numbers)
    c.image_pixels = max(prod(dims[1:-1]), 1)
    for i, (name, first, second, to) in enumerate(steps):
        c.step[i].map = MAPS.maps[<int> MAP_INDEX[name]].by_dtype[dtype]
        if c.step[i].map == NULL:
            raise DTypeError(f"{name}: no C kernel for {output_type}")
        c.step[i].source[0], c.step[i].source[1], c.step[i].to = first, second, to
    for i in range(count):
        one = view(inputs[i + 1], input_types[i + 1], f"input {i + 1}", False, True)
        o = &c.operand[i]
        images, pixels, channels = reaches[i]
        o.data = one.data
        # The pitch of an array with one channel is the distance between its pixels, too.
        o.channel = item if channels else 0
        o.pixel = one.pitch * item if pixels else 0
        o.image = one.pitch * item * (c.image_pixels if pixels else 1) if images else 0
        if pixels and dims[0] == 1:  # so that all pixels follow each other at one distance
            o.image = c.image_pixels * o.pixel
        elif images and c.image_pixels == 1:
            o.pixel = o.image
    cdef View constants
    if len(numbers):
        constants = view(numbers, TensorType(numbers.dtype, numbers.shape), "the numbers", False, False)
        for i in range(len(numbers)):
            c.operand[count + i].data = constants.data + i * item
    c.y, c.pitch = y.data, y.pitch * item
    run.args.pixels, run.args.channels = prod(dims[:-1]), dims[-1] if dims else 1
    run.args.x, run.args.x_pitch, run.args.y = x.data, x.pitch * item, y.data
    run.args.threads = threads
    run.keep = (*inputs, output, numbers)
    return run
