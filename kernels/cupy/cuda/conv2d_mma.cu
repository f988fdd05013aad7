// 2-D convolution on tensor cores, float32 data in memory, float32 accumulation. Two kernels, named apart:
//   conv2d_tf32   operands rounded to tf32, mma.m16n8k8
//   conv2d_bf16   operands rounded to bf16, mma.m16n8k16
//
// Compile-time: BLOCK_M x BLOCK_N tile of a block of WARPS_M x WARPS_N warps, GATHER floats per copy of A.
//
// Packed weights are n-major, [n_padded][k_padded], so that ldmatrix yields B fragments. For bf16 the 16 values of a
// K-slice are stored in the order of k_of_slot(): A is in shared memory as float32, where ldmatrix gives lane t the
// words t, 4+t, 8+t, 12+t of a slice, and the fragment's slots 2t, 2t+1, 2t+8, 2t+9 are filled with those. The sum has
// the same terms in any order of k as long as A and B agree.
#include <implicit_gemm.cuh>

constexpr int BM = BLOCK_M, BN = BLOCK_N;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int TILES_M = BM / WARPS_M / 16; // 16-row fragments of a warp
constexpr int TILES_N = BN / WARPS_N / 8;  // 8-column fragments of a warp
static_assert(TILES_M * WARPS_M * 16 == BM && TILES_N * WARPS_N * 8 == BN && TILES_N % 2 == 0,
              "warps must cover the tile");

struct Lane {
    int row, half, group, column;

    __device__ __forceinline__ Lane() {
        const int lane = threadIdx.x % 32;
        row = lane % 8;        // which row of an 8x8 matrix this lane's ldmatrix address names,
        half = lane / 8;       // and of which of the four matrices
        group = lane / 4;      // row of this lane's accumulators
        column = lane % 4 * 2; // and their first column
    }
};

// Chunks 2*pair and 2*pair + 1 (4 floats each) of 16 rows of A: word[0], [1]: rows g, g + 8 of the first chunk.
// `place`: this lane's float of pair 0. A swizzle is an exclusive or, so that another pair only flips bits of it.
DEVICE void load_a(unsigned (&word)[4], const float* a, int place, int pair) {
    ldmatrix_x4(word, a + (place ^ pair * 8));
}

struct Tf32 {
    static constexpr int BYTES = 4; // of one packed weight
    static constexpr int SLICES = BK / 8;

    static __device__ __forceinline__ int b_place(int row, int chunk) { return swizzle(row, chunk) * 4; }

    static __device__ __forceinline__ void fragment_a(unsigned (&out)[4], const float* a, int place, int slice) {
        load_a(out, a, place, slice);
        UNROLL
        for (int i = 0; i < 4; ++i) out[i] = round_tf32(bits_to_float(out[i]));
    }

    static __device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                                        unsigned b1) {
        mma_tf32(c, a, b0, b1);
    }
};

struct Bf16 {
    static constexpr int BYTES = 2;
    static constexpr int SLICES = BK / 16;

    // A row of B has 64 bytes, two rows share the 32 banks: swizzled by row / 2.
    static __device__ __forceinline__ int b_place(int row, int chunk) {
        return row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4);
    }

    static __device__ __forceinline__ void fragment_a(unsigned (&out)[4], const float* a, int place, int slice) {
        unsigned low[4], high[4];
        load_a(low, a, place, slice * 2);
        load_a(high, a, place, slice * 2 + 1);
        out[0] = pack_bf16(bits_to_float(low[0]), bits_to_float(low[2]));
        out[1] = pack_bf16(bits_to_float(low[1]), bits_to_float(low[3]));
        out[2] = pack_bf16(bits_to_float(high[0]), bits_to_float(high[2]));
        out[3] = pack_bf16(bits_to_float(high[1]), bits_to_float(high[3]));
    }

    static __device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                                        unsigned b1) {
        mma_bf16(c, a, b0, b1);
    }
};

template <typename Math>
DEVICE void convolve(unsigned char* memory, const float* x, const unsigned char* packed, const float* bias, float* y,
                     float* partial, const ConvShape& s) {
    constexpr int A_BYTES = BM * BK * 4;
    constexpr int ROW_BYTES = BK * Math::BYTES;
    constexpr int STAGE_BYTES = A_BYTES + BN * ROW_BYTES;
    constexpr int CHUNKS = ROW_BYTES / 16;
    constexpr int B_COPIES = BN * CHUNKS / THREADS;
    static_assert(BN * CHUNKS % THREADS == 0, "threads must cover the tile of B evenly");

    const int thread = threadIdx.x;
    const int warp_m = thread / 32 / WARPS_N * (BM / WARPS_M), warp_n = thread / 32 % WARPS_N * (BN / WARPS_N);
    const Lane lane;
    const BlockTile<BM, BN> block(s);
    const Index pitch = static_cast<Index>(s.k_padded) * Math::BYTES;

    Gather<BM, GATHER, THREADS> gather;
    // One 64-bit address per thread: with one per copy, bf16 128x64 and tf32 128x128 spill on sm_90 by NVRTC 13.0.88.
    static_assert(THREADS % CHUNKS == 0, "all copies of a thread must be of one column of chunks");
    const int b_row = thread / CHUNKS, b_chunk = thread % CHUNKS;
    const unsigned char* weights =
        packed + (block.n0 + b_row) * pitch + static_cast<Index>(block.first) * ROW_BYTES + b_chunk * 16;
    if (block.steps > 0) gather.init(s, x, block.m0, block.first);

    float sum[TILES_M][TILES_N][4] = {};

    auto load = [&](int stage) {
        unsigned char* a = memory + stage * STAGE_BYTES;
        gather.load(s, reinterpret_cast<float*>(a));
        UNROLL
        for (int i = 0; i < B_COPIES; ++i) {
            constexpr int ROWS = THREADS / CHUNKS;
            cp_async16(a + A_BYTES + Math::b_place(b_row + i * ROWS, b_chunk), weights + i * ROWS * pitch, true);
        }
        weights += ROW_BYTES;
    };

    const int place_a = swizzle(warp_m + (lane.half & 1) * 8 + lane.row, lane.half >> 1);
    const int place_b = Math::b_place(warp_n + (lane.half >> 1) * 8 + lane.row, lane.half & 1);

    auto compute = [&](int stage) {
        const float* a = reinterpret_cast<const float*>(memory + stage * STAGE_BYTES);
        const unsigned char* b = memory + stage * STAGE_BYTES + A_BYTES;
        UNROLL
        for (int slice = 0; slice < Math::SLICES; ++slice) {
            unsigned rows[TILES_M][4], columns[TILES_N / 2][4];
            UNROLL
            for (int i = 0; i < TILES_M; ++i) Math::fragment_a(rows[i], a + i * 16 * BK, place_a, slice);
            UNROLL
            for (int j = 0; j < TILES_N / 2; ++j)
                ldmatrix_x4(columns[j], b + j * 16 * ROW_BYTES + (place_b ^ slice * 32));
            UNROLL
            for (int i = 0; i < TILES_M; ++i) {
                UNROLL
                for (int j = 0; j < TILES_N; ++j)
                    Math::multiply_add(sum[i][j], rows[i], columns[j / 2][j % 2 * 2], columns[j / 2][j % 2 * 2 + 1]);
            }
        }
    };

    run_pipeline<PIPELINE>(block.steps, load, compute);

    const Output output(s, y, bias, partial);
    UNROLL
    for (int i = 0; i < TILES_M; ++i) {
        UNROLL
        for (int j = 0; j < TILES_N; ++j) {
            const int m = block.m0 + warp_m + i * 16 + lane.group, n = block.n0 + warp_n + j * 8 + lane.column;
            const float upper[2] = {sum[i][j][0], sum[i][j][1]}, lower[2] = {sum[i][j][2], sum[i][j][3]};
            output.store(s, m, n, upper);
            output.store(s, m + 8, n, lower);
        }
    }
}

#ifdef TF32
KERNEL void LAUNCH_BOUNDS(THREADS, RESIDENT_HERE)
    conv2d_tf32(const float* x, const unsigned char* packed, const float* bias, float* y, float* partial,
                const ConvShape s) {
    SHARED_MEMORY(memory);
    convolve<Tf32>(memory, x, packed, bias, y, partial, s);
}
EXPORT(conv2d_tf32)
#else
KERNEL void LAUNCH_BOUNDS(THREADS, RESIDENT_HERE)
    conv2d_bf16(const float* x, const unsigned char* packed, const float* bias, float* y, float* partial,
                const ConvShape s) {
    SHARED_MEMORY(memory);
    convolve<Bf16>(memory, x, packed, bias, y, partial, s);
}
EXPORT(conv2d_bf16)
#endif
