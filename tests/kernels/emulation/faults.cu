// Small kernels, right ones and ones with a fault that the emulation must show. One block of 64 threads.
#include <ptx.cuh>

// y = x reversed, through shared memory. BARRIER between the two halves, or not.
template <bool BARRIER>
DEVICE void reverse(unsigned char* memory, const float* x, float* y) {
    float* tile = reinterpret_cast<float*>(memory);
    tile[threadIdx.x] = x[threadIdx.x];
    if (BARRIER) block_barrier();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

KERNEL void reversed(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse<true>(memory, x, y);
}
EXPORT(reversed)

KERNEL void reversed_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse<false>(memory, x, y);
}
EXPORT(reversed_without_barrier)

// y = x, by asynchronous copies of 4 bytes. WAIT for them, or not.
template <bool WAIT>
DEVICE void fetch(unsigned char* memory, const float* x, float* y) {
    float* tile = reinterpret_cast<float*>(memory);
    cp_async4(tile + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    if (WAIT) cp_async_wait<0>();
    block_barrier();
    y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL void fetched(const float* x, float* y) {
    SHARED_MEMORY(memory);
    fetch<true>(memory, x, y);
}
EXPORT(fetched)

KERNEL void fetched_without_wait(const float* x, float* y) {
    SHARED_MEMORY(memory);
    fetch<false>(memory, x, y);
}
EXPORT(fetched_without_wait)

// y = x reversed, then a copy overwrites the tile while other threads may still read it.
KERNEL void overwritten_too_early(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[threadIdx.x] = x[threadIdx.x];
    block_barrier();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
    cp_async4(tile + threadIdx.x, y, false);
    cp_async_commit();
    cp_async_wait<0>();
}
EXPORT(overwritten_too_early)

// The same with a barrier for each use of the tile: nothing is wrong.
KERNEL void reversed_twice(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse<true>(memory, x, y);
    block_barrier();
    float* tile = reinterpret_cast<float*>(memory);
    cp_async4(tile + threadIdx.x, x + blockDim.x - 1 - threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x]; // its own copy: no barrier is needed
}
EXPORT(reversed_twice)

// y = x in pieces of 32, each a group of its own; GROUPS of them may be unfinished when the second one is read.
template <int GROUPS, bool BARRIER>
DEVICE void fetch_in_groups(unsigned char* memory, const float* x, float* y) {
    float* tile = reinterpret_cast<float*>(memory);
    const int at = threadIdx.x % 32, half = threadIdx.x / 32;
    for (int group = 0; group < 2; ++group) {
        if (half == 0) cp_async4(tile + group * 32 + at, x + group * 32 + at, true);
        cp_async_commit();
    }
    cp_async_wait<GROUPS>();
    if (BARRIER) block_barrier();
    y[threadIdx.x] = tile[half * 32 + at];
}

KERNEL void fetched_in_groups(const float* x, float* y) {
    SHARED_MEMORY(memory);
    fetch_in_groups<0, true>(memory, x, y);
}
EXPORT(fetched_in_groups)

KERNEL void waits_for_too_few_groups(const float* x, float* y) {
    SHARED_MEMORY(memory);
    fetch_in_groups<1, true>(memory, x, y);
}
EXPORT(waits_for_too_few_groups)

KERNEL void waits_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    fetch_in_groups<0, false>(memory, x, y);
}
EXPORT(waits_without_barrier)

KERNEL void reads_its_own_copy_early(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    cp_async4(tile + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    y[threadIdx.x] = tile[threadIdx.x];
    cp_async_wait<0>();
}
EXPORT(reads_its_own_copy_early)

KERNEL void waits_without_commit(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    cp_async4(tile + threadIdx.x, x + threadIdx.x, true);
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
EXPORT(waits_without_commit)

KERNEL void copies_twice(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    for (int i = 0; i < 2; ++i) cp_async4(tile + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
EXPORT(copies_twice)

KERNEL void two_threads_write(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[threadIdx.x / 2] = x[0];
    block_barrier();
    y[threadIdx.x] = tile[threadIdx.x / 2];
}
EXPORT(two_threads_write)

// y = x (whole numbers below 128) reversed as elements of type T: several threads share a word. OVERLAP: a thread
// writes the next thread's element, too.
template <typename T, bool OVERLAP, bool BARRIER>
DEVICE void reverse_small(unsigned char* memory, const float* x, float* y) {
    T* tile = reinterpret_cast<T*>(memory);
    tile[threadIdx.x] = static_cast<T>(x[threadIdx.x]);
    if (OVERLAP) tile[threadIdx.x + 1] = static_cast<T>(x[threadIdx.x]);
    if (BARRIER) block_barrier();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

KERNEL void reversed_bytes(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse_small<unsigned char, false, true>(memory, x, y);
}
EXPORT(reversed_bytes)

KERNEL void reversed_shorts(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse_small<short, false, true>(memory, x, y);
}
EXPORT(reversed_shorts)

KERNEL void reversed_bytes_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse_small<unsigned char, false, false>(memory, x, y);
}
EXPORT(reversed_bytes_without_barrier)

KERNEL void bytes_overlap(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reverse_small<unsigned char, true, true>(memory, x, y);
}
EXPORT(bytes_overlap)

// Thread 0 reads a word of which thread 1 writes one byte.
KERNEL void a_byte_of_a_word(const float* x, float* y) {
    SHARED_MEMORY(memory);
    if (threadIdx.x == 0) y[0] = reinterpret_cast<float*>(memory)[5];
    if (threadIdx.x == 1) memory[22] = static_cast<unsigned char>(x[0]);
}
EXPORT(a_byte_of_a_word)

// y = x, 4 at a time through shared memory, by the 16-byte accesses of ptx.cuh.
KERNEL void vectors_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    if (threadIdx.x < 16) store4(tile + threadIdx.x * 4, load4(x + threadIdx.x * 4));
    if (threadIdx.x >= 48) store4(y + (threadIdx.x - 48) * 4, load4(tile + (threadIdx.x - 48) * 4));
}
EXPORT(vectors_without_barrier)

KERNEL void matrices_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    store2(reinterpret_cast<float*>(memory) + threadIdx.x * 2, make_float2(x[threadIdx.x], 0));
    unsigned word[4];
    ldmatrix_x4(word, memory + threadIdx.x % 32 * 16);
    y[threadIdx.x] = bits_to_float(word[0]);
}
EXPORT(matrices_without_barrier)

// Row 10, word 3 is what lane 11 of each warp is given.
KERNEL void one_word_of_a_matrix(const float* x, float* y) {
    SHARED_MEMORY(memory);
    if (threadIdx.x == 40) reinterpret_cast<float*>(memory)[43] = x[0];
    unsigned word[4];
    ldmatrix_x4(word, memory + threadIdx.x % 32 * 16);
    y[threadIdx.x] = bits_to_float(word[0]);
}
EXPORT(one_word_of_a_matrix)

// Thread 0, one of many readers, writes when its warp has read.
KERNEL void read_by_all_then_written(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    y[threadIdx.x] = lane_xor(tile[0], 1);
    if (threadIdx.x == 0) tile[0] = x[0];
}
EXPORT(read_by_all_then_written)

// A byte and then, by cp.async, the whole word; the barrier does not stand in for the wait.
KERNEL void copies_over_a_byte(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    memory[threadIdx.x * 4 + 1] = 1;
    cp_async4(tile + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    block_barrier();
    y[threadIdx.x] = tile[threadIdx.x];
}
EXPORT(copies_over_a_byte)

// A struct of 12 bytes per thread, handed to the next thread.
struct Triple {
    float a, b, c;
};

KERNEL void structs_without_barrier(const float* x, float* y) {
    SHARED_MEMORY(memory);
    Triple* tile = reinterpret_cast<Triple*>(memory);
    if (threadIdx.x < 16) tile[threadIdx.x] = reinterpret_cast<const Triple*>(x)[threadIdx.x];
    if (threadIdx.x >= 48) reinterpret_cast<Triple*>(y)[threadIdx.x - 48] = tile[threadIdx.x - 48];
}
EXPORT(structs_without_barrier)

// y[block] = how many blocks ran before it. Blocks of 1 thread; y[63] counts.
KERNEL void turns(const float* x, float* y) {
    y[blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)] = y[63];
    y[63] += 1;
}
EXPORT(turns)

// A block ends with a copy that it never waited for; the next block uses the same word rightly.
KERNEL void ends_with_a_copy(const float* x, float* y) {
    SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[threadIdx.x];
    cp_async4(tile + threadIdx.x, x, true);
}
EXPORT(ends_with_a_copy)

KERNEL void one_thread_skips_the_barrier(const float* x, float* y) {
    if (threadIdx.x != 5) block_barrier();
    y[threadIdx.x] = x[threadIdx.x];
}
EXPORT(one_thread_skips_the_barrier)

KERNEL void lanes_part(const float* x, float* y) {
    SHARED_MEMORY(memory);
    unsigned word[4] = {};
    if (threadIdx.x % 2)
        ldmatrix_x4(word, memory);
    else
        word[0] = lane_xor(threadIdx.x, 1);
    y[threadIdx.x] = x[threadIdx.x] + word[0];
}
EXPORT(lanes_part)

KERNEL void writes_past_shared_memory(const float* x, float* y) {
    SHARED_MEMORY(memory);
    reinterpret_cast<float*>(memory)[threadIdx.x + 1] = x[threadIdx.x];
    y[threadIdx.x] = x[threadIdx.x];
}
EXPORT(writes_past_shared_memory)

KERNEL void copies_past_shared_memory(const float* x, float* y) {
    SHARED_MEMORY(memory);
    cp_async4(reinterpret_cast<float*>(memory) + threadIdx.x + 1, x, true);
    y[threadIdx.x] = x[threadIdx.x];
}
EXPORT(copies_past_shared_memory)

KERNEL void copies_from_misaligned(const float* x, float* y) {
    SHARED_MEMORY(memory);
    cp_async16(memory, x + 1, true);
    y[threadIdx.x] = x[threadIdx.x];
}
EXPORT(copies_from_misaligned)

KERNEL void stores_misaligned(const float* x, float* y) {
    if (threadIdx.x == 0) store4(y + 1, make_float4(0, 0, 0, 0));
}
EXPORT(stores_misaligned)

// y[lane] = sum over the warp.
KERNEL void warp_sums(const float* x, float* y) {
    float sum = x[threadIdx.x];
    for (int mask = 1; mask < 32; mask *= 2) sum += lane_xor(sum, mask);
    y[threadIdx.x] = sum;
}
EXPORT(warp_sums)

// 32 rows of 16 bytes, PITCH bytes apart: word i % 4 of row i / 4 of each of 4 matrices is added up by lane i.
template <int PITCH>
DEVICE void add_matrices(unsigned char* memory, const float* x, float* y) {
    for (int i = 0; i < 2; ++i) {
        const int at = threadIdx.x + i * 64; // 128 words
        reinterpret_cast<float*>(memory + at / 4 * PITCH)[at % 4] = x[at % 64];
    }
    block_barrier();
    unsigned word[4];
    ldmatrix_x4(word, memory + threadIdx.x % 32 * PITCH);
    y[threadIdx.x] = bits_to_float(word[0]) + bits_to_float(word[1]) + bits_to_float(word[2]) + bits_to_float(word[3]);
}

KERNEL void matrices_dense(const float* x, float* y) {
    SHARED_MEMORY(memory);
    add_matrices<16>(memory, x, y);
}
EXPORT(matrices_dense)

KERNEL void matrices_in_one_bank(const float* x, float* y) {
    SHARED_MEMORY(memory);
    add_matrices<128>(memory, x, y);
}
EXPORT(matrices_in_one_bank)

// c = a (16x16) * b (16x8) with the fragments as the PTX manual lays them out; a, b small integers, exact in bf16 and
// tf32.
KERNEL void multiply_bf16(const float* a, const float* b, float* y) {
    const int group = threadIdx.x / 4, pair = threadIdx.x % 4 * 2;
    unsigned words[4], columns[2];
    for (int i = 0; i < 4; ++i) {
        const float* from = a + (group + (i & 1) * 8) * 16 + pair + (i >> 1) * 8;
        words[i] = pack_bf16(from[0], from[1]);
    }
    for (int i = 0; i < 2; ++i) {
        const float* from = b + (pair + i * 8) * 8 + group;
        columns[i] = pack_bf16(from[0], from[8]);
    }
    float c[4] = {};
    mma_bf16(c, words, columns[0], columns[1]);
    for (int i = 0; i < 4; ++i) y[(group + (i >> 1) * 8) * 8 + pair + (i & 1)] = c[i];
}
EXPORT(multiply_bf16)

KERNEL void multiply_tf32(const float* a, const float* b, float* y) {
    const int group = threadIdx.x / 4, lane = threadIdx.x % 4;
    float c[4] = {};
    for (int k = 0; k < 16; k += 8) {
        unsigned words[4];
        for (int i = 0; i < 4; ++i) words[i] = round_tf32(a[(group + (i & 1) * 8) * 16 + k + lane + (i >> 1) * 4]);
        mma_tf32(c, words, round_tf32(b[(k + lane) * 8 + group]), round_tf32(b[(k + lane + 4) * 8 + group]));
    }
    for (int i = 0; i < 4; ++i) y[(group + (i >> 1) * 8) * 8 + lane * 2 + (i & 1)] = c[i];
}
EXPORT(multiply_tf32)

KERNEL void roundings(const float* x, float* y) {
    const unsigned i = threadIdx.x;
    y[i] = bits_to_float(round_tf32(x[i]));
    y[i + blockDim.x] = bits_to_float(pack_bf16(x[i], 0.0f) << 16);
    y[i + 2 * blockDim.x] = bits_to_float(pack_bf16(0.0f, x[i]));
}
EXPORT(roundings)
