// Stands in for cuda/ptx.cuh when the CUDA sources are built as host C++: the same names over the fibers of block.cuh.
// See __init__.py for what this finds and what it cannot find.
#pragma once
#include "block.cuh"
#include "hooks.cuh"

// CUDA C++ has these without a namespace.
using std::exp, std::log, std::log1p, std::sqrt, std::erf, std::sin, std::cos, std::tanh, std::floor, std::ceil,
    std::rint, std::fabs;
using std::min, std::max;

#define __global__
#define __device__
#define __forceinline__ inline
#define KERNEL extern "C"
#define DEVICE static inline
#define EMULATED UNCHECKED static inline // what touches shared memory, or is called often
#define LAUNCH_BOUNDS(threads, blocks)
#define IN_CONSTANT_MEMORY
#define UNROLL
#define UNROLL_TWICE
#define SHARED_MEMORY(name) unsigned char* name = emulation::block.shared
#define EXPORT(kernel)                                                                                                 \
    extern "C" void emulated_##kernel(void** args, emulation::Settings* s) {                                           \
        emulation::launch(kernel, args, s);                                                                            \
    }                                                                                                                  \
    extern "C" int parameters_of_##kernel(char* kinds, int* sizes) {                                                   \
        return emulation::describe(kernel, kinds, sizes);                                                              \
    }

#define threadIdx (emulation::thread_index())
#define blockIdx (emulation::block_index())
#define blockDim (emulation::block_size())
#define gridDim (emulation::grid_size())

struct float2 {
    float x, y;
};
struct float4 {
    float x, y, z, w;
};
struct ulonglong2 {
    unsigned long long x, y;
};
DEVICE float2 make_float2(float x, float y) {
    return {x, y};
}
DEVICE float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}

EMULATED void cp_async16(void* shared, const void* global, bool valid) {
    emulation::start_copy(shared, global, 16, valid);
}
EMULATED void cp_async4(void* shared, const void* global, bool valid) {
    emulation::start_copy(shared, global, 4, valid);
}
EMULATED void cp_async_commit() {
    emulation::current->committed++;
}

template <int N>
EMULATED void cp_async_wait() {
    emulation::wait_copies(N);
}

// Inlined into unchecked functions, too.
__attribute__((always_inline)) DEVICE unsigned float_bits(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

__attribute__((always_inline)) DEVICE float bits_to_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

struct LoadMatrices {
    const unsigned char* row;
    unsigned word[4];

    UNCHECKED static void execute(LoadMatrices** lanes) {
        emulation::Fiber* warp = emulation::current - emulation::current->linear % 32;
        for (int matrix = 0; matrix < 4; ++matrix) {
            unsigned used = 0; // which of the 8 groups of 4 banks the 8 rows touch
            for (int row = 0; row < 8; ++row)
                used |= 1u << (reinterpret_cast<uintptr_t>(lanes[matrix * 8 + row]->row) / 16 % 8);
            emulation::block.settings->bank_conflicts += 8 - __builtin_popcount(used);
            for (int lane = 0; lane < 32; ++lane) {
                const unsigned char* from = lanes[matrix * 8 + lane / 4]->row + lane % 4 * 4;
                emulation::touch(from, 4, emulation::READ, warp + lane);
                memcpy(&lanes[lane]->word[matrix], from, 4);
            }
        }
    }
};

EMULATED void ldmatrix_x4(unsigned (&word)[4], const void* row) {
    emulation::check_shared(row, 16, "ldmatrix reads outside the block's shared memory");
    emulation::check_aligned(row, 16, "ldmatrix from a misaligned address");
    LoadMatrices mine{static_cast<const unsigned char*>(row), {}};
    emulation::collective(&mine);
    memcpy(word, mine.word, sizeof word);
}

// Products are exact in double; sums are rounded to float32 once per instruction.
template <int K, int PER_WORD>
struct MultiplyMatrices {
    float (&c)[4];
    const unsigned (&a)[4];
    unsigned b[2];

    UNCHECKED static float element(unsigned word, int part) {
        if (PER_WORD == 2) return bits_to_float(part ? word & 0xffff0000u : word << 16);
        return bits_to_float(word & 0xffffe000u); // the hardware ignores the low 13 bits
    }

    UNCHECKED static void execute(MultiplyMatrices** lanes) {
        float a[16][K], b[K][8];
        for (int lane = 0; lane < 32; ++lane)
            for (int part = 0; part < PER_WORD; ++part) {
                const int group = lane / 4, k = lane % 4 * PER_WORD + part;
                for (int word = 0; word < 4; ++word)
                    a[group + (word & 1) * 8][k + (word >> 1) * K / 2] = element(lanes[lane]->a[word], part);
                for (int word = 0; word < 2; ++word) b[k + word * K / 2][group] = element(lanes[lane]->b[word], part);
            }
        for (int lane = 0; lane < 32; ++lane)
            for (int i = 0; i < 4; ++i) {
                const int row = lane / 4 + (i >> 1) * 8, column = lane % 4 * 2 + (i & 1);
                double sum = lanes[lane]->c[i];
                for (int k = 0; k < K; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
                lanes[lane]->c[i] = static_cast<float>(sum);
            }
    }
};

EMULATED void mma_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    MultiplyMatrices<8, 1> mine{c, a, {b0, b1}};
    emulation::collective(&mine);
}

EMULATED void mma_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    MultiplyMatrices<16, 2> mine{c, a, {b0, b1}};
    emulation::collective(&mine);
}

DEVICE unsigned round_tf32(float x) {
    const unsigned bits = float_bits(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x != x ? 0x7fffffffu : bits;
    return (bits + 0x1000u) & 0xffffe000u;
}

DEVICE unsigned round_bf16(float x) {
    const unsigned bits = float_bits(x);
    if (x != x) return 0x7fffu;
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

DEVICE unsigned pack_bf16(float low, float high) {
    return round_bf16(low) | round_bf16(high) << 16;
}

EMULATED float4 load4(const float* p) {
    emulation::check_aligned(p, 16, "16-byte load from a misaligned address");
    emulation::touch(p, 16, emulation::READ);
    return {p[0], p[1], p[2], p[3]};
}

EMULATED void store4(float* p, float4 v) {
    emulation::check_aligned(p, 16, "16-byte store to a misaligned address");
    emulation::touch(p, 16, emulation::WRITE);
    p[0] = v.x, p[1] = v.y, p[2] = v.z, p[3] = v.w;
}

EMULATED void store2(float* p, float2 v) {
    emulation::check_aligned(p, 8, "8-byte store to a misaligned address");
    emulation::touch(p, 8, emulation::WRITE);
    p[0] = v.x, p[1] = v.y;
}

template <typename T>
struct ExchangeLanes {
    T in, out;
    int mask;

    UNCHECKED static void execute(ExchangeLanes** lanes) {
        for (int lane = 0; lane < 32; ++lane) lanes[lane]->out = lanes[lane ^ lanes[lane]->mask]->in;
    }
};

template <typename T>
EMULATED T lane_xor(T value, int mask) {
    ExchangeLanes<T> mine{value, value, mask};
    emulation::collective(&mine);
    return mine.out;
}

EMULATED void block_barrier() {
    emulation::barrier();
}

DEVICE float multiply(float a, float b) {
    volatile float product = a * b; // kept apart from any sum
    return product;
}

DEVICE float add(float a, float b) {
    return a + b;
}
