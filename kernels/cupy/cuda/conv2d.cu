// 2-D convolution in true float32: FFMA tiles held in registers.
//
// Compile-time: BLOCK_M x BLOCK_N output tile, THREAD_M x THREAD_N results per thread (rows strided, columns in groups
// of 4), GATHER floats per copy of A. Packed weights: row-major [k_padded][n_padded], zeros in the padding.
#include <implicit_gemm.cuh>

constexpr int BM = BLOCK_M, BN = BLOCK_N;
constexpr int TM = THREAD_M, TN = THREAD_N;
constexpr int TX = BN / TN;
constexpr int TY = BM / TM;
constexpr int THREADS = TX * TY;
constexpr int A_FLOATS = BM * BK;
constexpr int B_FLOATS = BN * BK;
constexpr int B_COPIES = B_FLOATS / 4 / THREADS;
static_assert(B_FLOATS % (4 * THREADS) == 0, "threads must cover the tile of B evenly");

KERNEL void LAUNCH_BOUNDS(THREADS, RESIDENT_HERE)
    conv2d_fp32(const float* x, const float* packed, const float* bias, float* y, float* partial, const ConvShape s) {
    SHARED_MEMORY(memory);
    float* tiles = reinterpret_cast<float*>(memory);
    const int thread = threadIdx.x;
    const int tx = thread % TX, ty = thread / TX;
    const BlockTile<BM, BN> block(s);

    Gather<BM, GATHER, THREADS> gather;
    const float* weights = packed + static_cast<Index>(block.first) * BK * s.n_padded + block.n0;
    if (block.steps > 0) gather.init(s, x, block.m0, block.first);

    float sum[TM][TN] = {};

    auto load = [&](int stage) {
        float* a = tiles + stage * (A_FLOATS + B_FLOATS);
        float* b = a + A_FLOATS;
        gather.load(s, a);
        UNROLL
        for (int i = 0; i < B_COPIES; ++i) {
            const int at = (thread + i * THREADS) * 4;
            cp_async16(b + at, weights + static_cast<Index>(at / BN) * s.n_padded + at % BN, true);
        }
        weights += static_cast<Index>(BK) * s.n_padded;
    };

    auto compute = [&](int stage) {
        const float* a = tiles + stage * (A_FLOATS + B_FLOATS);
        const float* b = a + A_FLOATS;
        UNROLL_TWICE
        for (int chunk = 0; chunk < BK / 4; ++chunk) {
            float4 rows[TM];
            UNROLL
            for (int i = 0; i < TM; ++i) rows[i] = load4(a + swizzle(ty + i * TY, chunk));
            UNROLL
            for (int k = 0; k < 4; ++k) {
                float columns[TN];
                UNROLL
                for (int j = 0; j < TN; j += 4) {
                    const float4 four = load4(b + (chunk * 4 + k) * BN + tx * 4 + j * TX);
                    columns[j] = four.x, columns[j + 1] = four.y, columns[j + 2] = four.z, columns[j + 3] = four.w;
                }
                UNROLL
                for (int i = 0; i < TM; ++i) {
                    const float value = k == 0 ? rows[i].x : k == 1 ? rows[i].y : k == 2 ? rows[i].z : rows[i].w;
                    UNROLL
                    for (int j = 0; j < TN; ++j) sum[i][j] += value * columns[j];
                }
            }
        }
    };

    run_pipeline<PIPELINE>(block.steps, load, compute);

    const Output output(s, y, bias, partial);
    UNROLL
    for (int i = 0; i < TM; ++i) {
        UNROLL
        for (int j = 0; j < TN; j += 4) {
            const float four[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
            output.store(s, block.m0 + ty + i * TY, block.n0 + tx * 4 + j * TX, four);
        }
    }
}
EXPORT(conv2d_fp32)
