// The parts of an NHWC implicit-GEMM convolution that do not depend on how the multiply-adds are computed.
//
//   Y[m, n] = sum over k of A[m, k] * B[k, n]      m = (image, oh, ow),  n = output channel,  k = (kh, kw, input channel)
//
// A is never stored: its tile for a K-step is gathered from x straight into shared memory by cp.async. A tile row has
// BK = 32 floats = 128 bytes = 8 chunks of 16 bytes; chunk c of row r is at position c ^ (r % 8), so that 8 rows at one
// c, and 8 c of one row, touch all 32 banks once. Loads run STAGES - 1 K-steps ahead of the multiply-adds.
#pragma once
#include <common.cuh>

// Mirrors conv2d.ConvShape field by field.
struct ConvShape {
    int n, h, w, cin;
    int kh, kw, oh, ow, cout;
    int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int x_pitch, y_pitch; // elements from one pixel to the next
    int m; // n * oh * ow
    int k_padded, n_padded; // sizes of the packed weights
    int steps, split_steps; // K-steps in all, and per split (blockIdx.z)
    int activation;
    int vector_store; // rows of y may be written 16 bytes at a time
};

constexpr int BK = 32;

// RESIDENT blocks share a multiprocessor's 228 KB of shared memory from Hopper on; the 164 KB of Ampere hold half of them.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define RESIDENT_HERE ((RESIDENT + 1) / 2)
#else
#define RESIDENT_HERE RESIDENT
#endif

DEVICE int swizzle(int row, int chunk) {
    return row * BK + ((chunk ^ (row & 7)) << 2);
}

// One thread's share of the gathers of A tiles. VEC: floats per copy, 4 (aligned channels) or 1 (any).
// The tap's position is carried from step to step: if it is computed in load(), that is done once per copy (bf16 128x64,
// sm_90, NVRTC 13.0: 57 of 357 instructions per step). x + base + shift in 64 bits: 32 more, and a register per copy.
template <int BM, int VEC, int THREADS>
struct Gather {
    static constexpr int COPIES_PER_ROW = BK / VEC;
    static constexpr int ROWS_PER_PASS = THREADS / COPIES_PER_ROW;
    static constexpr int PASSES = BM / ROWS_PER_PASS;
    static_assert(THREADS % COPIES_PER_ROW == 0 && BM % ROWS_PER_PASS == 0, "threads must cover the tile evenly");

    const float* x;
    int base[PASSES]; // element of x under the filter's first tap
    int top[PASSES], left[PASSES]; // its row and column, negative in the padding
    int c, down, right; // this thread's k as channel, and as the tap's distance from the first in rows and columns
    int shift; // elements from the first tap to this k

    __device__ __forceinline__ void init(const ConvShape& s, const float* input, int m0, int step) {
        x = input;
        UNROLL
        for (int p = 0; p < PASSES; ++p) {
            const int m = m0 + static_cast<int>(threadIdx.x) / COPIES_PER_ROW + p * ROWS_PER_PASS;
            const int pixel = m % (s.oh * s.ow);
            const int image = m / (s.oh * s.ow);
            // A row past the end is outside every image, so that it is filled with zeros.
            top[p] = m < s.m ? pixel / s.ow * s.stride_h - s.pad_top : -(1 << 29);
            left[p] = pixel % s.ow * s.stride_w - s.pad_left;
            base[p] = m < s.m ? ((image * s.h + top[p]) * s.w + left[p]) * s.x_pitch : 0;
        }
        const int k = step * BK + static_cast<int>(threadIdx.x) % COPIES_PER_ROW * VEC;
        c = k % s.cin;
        down = k / s.cin / s.kw * s.dilation_h;
        right = k / s.cin % s.kw * s.dilation_w;
        shift = (down * s.w + right) * s.x_pitch + c;
    }

    // Starts the copies of one K-step into `tile` and moves on to the next.
    __device__ __forceinline__ void load(const ConvShape& s, float* tile) {
        const int element = static_cast<int>(threadIdx.x) % COPIES_PER_ROW * VEC;
        UNROLL
        for (int p = 0; p < PASSES; ++p) {
            const int row = static_cast<int>(threadIdx.x) / COPIES_PER_ROW + p * ROWS_PER_PASS;
            const bool valid = down < s.kh * s.dilation_h &&
                               static_cast<unsigned>(top[p] + down) < static_cast<unsigned>(s.h) &&
                               static_cast<unsigned>(left[p] + right) < static_cast<unsigned>(s.w);
            const float* source = valid ? x + (base[p] + shift) : x;
            float* target = tile + swizzle(row, element >> 2) + (element & 3);
            if (VEC == 4)
                cp_async16(target, source, valid);
            else
                cp_async4(target, source, valid);
        }
        for (c += BK; c >= s.cin;) {
            c -= s.cin;
            right += s.dilation_w;
            if (right == s.kw * s.dilation_w) {
                right = 0;
                down += s.dilation_h;
            }
        }
        shift = (down * s.w + right) * s.x_pitch + c;
    }
};

// Which tile, and which K-steps, this block computes. Column tiles are neighbours, so that they share A in the L2 cache.
template <int BM, int BN>
struct BlockTile {
    int m0, n0, first, steps;

    __device__ __forceinline__ explicit BlockTile(const ConvShape& s) {
        const int columns = (s.cout + BN - 1) / BN;
        m0 = static_cast<int>(blockIdx.x) / columns * BM;
        n0 = static_cast<int>(blockIdx.x) % columns * BN;
        first = static_cast<int>(blockIdx.z) * s.split_steps;
        steps = s.steps - first < s.split_steps ? s.steps - first : s.split_steps;
    }
};

// The pipeline: load(stage) starts the copies of the next K-step, compute(stage) uses a finished one.
// One barrier per step: it makes the copies of all threads visible, and ensures that the stage about to be overwritten
// (computed one step ago) is free.
template <int STAGES, typename Load, typename Compute>
DEVICE void run_pipeline(int steps, Load load, Compute compute) {
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < steps) load(s);
        cp_async_commit();
    }
    int reading = 0, writing = STAGES - 1;
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<STAGES - 2>();
        block_barrier();
        if (step + STAGES - 1 < steps) load(writing);
        cp_async_commit();
        compute(reading);
        reading = reading + 1 == STAGES ? 0 : reading + 1;
        writing = writing + 1 == STAGES ? 0 : writing + 1;
    }
}

// Where results go: y with bias and activation, or, when K is split, this split's plane of partial sums.
struct Output {
    float* y;
    const float* bias;
    int pitch, activation;

    __device__ __forceinline__ Output(const ConvShape& s, float* result, const float* bias_or_null, float* partial) {
        const bool split = gridDim.z > 1;
        y = split ? partial + static_cast<Index>(blockIdx.z) * s.m * s.cout : result;
        pitch = split ? s.cout : s.y_pitch;
        bias = split ? nullptr : bias_or_null;
        activation = split ? NONE : s.activation;
    }

    // COUNT (4 or 2) neighbours of one row.
    template <int COUNT>
    __device__ __forceinline__ void store(const ConvShape& s, int m, int n, const float (&value)[COUNT]) const {
        if (m >= s.m || n >= s.cout) return;
        float* target = y + static_cast<Index>(m) * pitch + n;
        float v[COUNT];
        UNROLL
        for (int i = 0; i < COUNT; ++i)
            v[i] = activate(value[i] + (bias && n + i < s.cout ? bias[n + i] : 0.0f), activation);
        if (s.vector_store && COUNT == 4) {
            store4(target, make_float4(v[0], v[1], v[COUNT - 2], v[COUNT - 1]));
        } else if (s.vector_store) {
            store2(target, make_float2(v[0], v[1]));
        } else {
            UNROLL
            for (int i = 0; i < COUNT; ++i)
                if (n + i < s.cout) target[i] = v[i];
        }
    }
};
