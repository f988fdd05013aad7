/* Element types of the kernels that serve more than float and double. */
#ifndef KI_DTYPES_H
#define KI_DTYPES_H

#include <math.h>
#include <stdint.h>

typedef enum { KI_F32, KI_F64, KI_I8, KI_I16, KI_I32, KI_I64, KI_U8, KI_U16, KI_U32, KI_U64, KI_DTYPES } ki_dtype;

/* X(name, type, arithmetic type, least value, greatest value): integers compute unsigned, so that they wrap. */
#define KI_FLOATS(X)                                                                                                   \
    X(f32, float, float, -INFINITY, INFINITY)                                                                          \
    X(f64, double, double, -INFINITY, INFINITY)
#define KI_SIGNED(X)                                                                                                   \
    X(i8, int8_t, uint32_t, INT8_MIN, INT8_MAX)                                                                        \
    X(i16, int16_t, uint32_t, INT16_MIN, INT16_MAX)                                                                    \
    X(i32, int32_t, uint32_t, INT32_MIN, INT32_MAX)                                                                    \
    X(i64, int64_t, uint64_t, INT64_MIN, INT64_MAX)
#define KI_UNSIGNED(X)                                                                                                 \
    X(u8, uint8_t, uint32_t, 0, UINT8_MAX)                                                                             \
    X(u16, uint16_t, uint32_t, 0, UINT16_MAX)                                                                          \
    X(u32, uint32_t, uint32_t, 0, UINT32_MAX)                                                                          \
    X(u64, uint64_t, uint64_t, 0, UINT64_MAX)
#define KI_INTEGERS(X) KI_SIGNED(X) KI_UNSIGNED(X)
#define KI_NUMBERS(X) KI_FLOATS(X) KI_INTEGERS(X)

/* {[KI_F32] = f32_name__isa, ...}: a row of the table; for sources that include simd/simd.h. */
#define KI_FLOATS_OF(name) [KI_F32] = KI_NAME(f32_##name), [KI_F64] = KI_NAME(f64_##name)
#define KI_INTEGERS_OF(name)                                                                                           \
    [KI_I8] = KI_NAME(i8_##name), [KI_I16] = KI_NAME(i16_##name), [KI_I32] = KI_NAME(i32_##name),                      \
    [KI_I64] = KI_NAME(i64_##name), [KI_U8] = KI_NAME(u8_##name), [KI_U16] = KI_NAME(u16_##name),                      \
    [KI_U32] = KI_NAME(u32_##name), [KI_U64] = KI_NAME(u64_##name)
#define KI_ROW_FLOATS(name) {KI_FLOATS_OF(name)}
#define KI_ROW_INTEGERS(name) {KI_INTEGERS_OF(name)}
#define KI_ROW_NUMBERS(name) {KI_FLOATS_OF(name), KI_INTEGERS_OF(name)}

#endif
