// Every instruction and keyword that plain C++ does not have, each in one inline function or macro.
//
// The CUDA sources use these and nothing below them, so that kernels/testing/ptx.cuh, which is found in
// place of this file when the same sources are built for the host, can replace all of them.
#pragma once

#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define UNROLL _Pragma("unroll")
#define UNROLL_TWICE _Pragma("unroll 2")
// For a parameter struct that is indexed at run time: it stays in constant memory instead of being copied to a stack.
#define IN_CONSTANT_MEMORY __grid_constant__
// All shared memory is dynamic: the launch states its size, and the emulation poisons and guards it.
#define SHARED_MEMORY(name) extern __shared__ __align__(128) unsigned char name[]
// Makes a kernel launchable in the emulation; nothing to do on the device.
#define EXPORT(kernel)

DEVICE unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Starts an asynchronous copy of 16 bytes, global to shared; zeros are written if not `valid` (nothing is read).
DEVICE void cp_async16(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0));
}

// The same for 4 bytes.
DEVICE void cp_async4(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 4 : 0));
}

// Closes the group of the copies that this thread has started since the last call.
DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most N of this thread's groups are unfinished.
template <int N>
DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32-bit ones). Lane i gives the address of row i % 8 of matrix
// i / 8 (16 bytes, aligned); it gets the 32-bit word i % 4 of row i / 4 of each matrix.
DEVICE void ldmatrix_x4(unsigned (&word)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c (16x8, float32) += a (16x8, tf32, row-major) * b (8x8, tf32, column-major), fragments as in the PTX manual.
DEVICE void mma_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c (16x8, float32) += a (16x16, bf16, row-major) * b (16x8, bf16, column-major).
DEVICE void mma_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// float32 rounded to tf32 (10 bits of mantissa, nearest, ties away from zero); the low 13 bits are zero.
DEVICE unsigned round_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// Two float32 rounded to bf16 (nearest, ties to even); `low` in bits 0..15.
DEVICE unsigned pack_bf16(float low, float high) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

DEVICE float bits_to_float(unsigned bits) {
    return __uint_as_float(bits);
}

// 16-byte and 8-byte accesses; the address must be a multiple of that.
DEVICE float4 load4(const float* p) {
    return *reinterpret_cast<const float4*>(p);
}
DEVICE void store4(float* p, float4 v) {
    *reinterpret_cast<float4*>(p) = v;
}
DEVICE void store2(float* p, float2 v) {
    *reinterpret_cast<float2*>(p) = v;
}

// The value of the lane whose number differs by `mask`; all 32 lanes take part.
template <typename T>
DEVICE T lane_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

DEVICE void block_barrier() {
    __syncthreads();
}

// Multiplications and additions that are never contracted into a fused multiply-add.
DEVICE float multiply(float a, float b) {
    return __fmul_rn(a, b);
}
DEVICE float add(float a, float b) {
    return __fadd_rn(a, b);
}
