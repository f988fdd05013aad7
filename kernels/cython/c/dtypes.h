/* Element types of the kernels that serve more than float and double. */
#ifndef KI_DTYPES_H
#define KI_DTYPES_H

#include <math.h>
#include <stdint.h>

typedef enum { KI_F32, KI_F64, KI_I8, KI_I16, KI_I32, KI_I64, KI_U8, KI_U16, KI_U32, KI_U64, KI_DTYPES } ki_dtype;

/* X(name, type, arithmetic type, least value, greatest value, ...) with what else the list is given. Integers compute
 * unsigned, so that they wrap. */
#define KI_FLOATS(X, ...)                                                                                              \
    X(f32, float, float, -INFINITY, INFINITY, ##__VA_ARGS__)                                                           \
    X(f64, double, double, -INFINITY, INFINITY, ##__VA_ARGS__)
#define KI_SINGLE(X, ...) X(f32, float, float, -INFINITY, INFINITY, ##__VA_ARGS__)
#define KI_DOUBLE(X, ...) X(f64, double, double, -INFINITY, INFINITY, ##__VA_ARGS__)
#define KI_SIGNED(X, ...)                                                                                              \
    X(i8, int8_t, uint32_t, INT8_MIN, INT8_MAX, ##__VA_ARGS__)                                                         \
    X(i16, int16_t, uint32_t, INT16_MIN, INT16_MAX, ##__VA_ARGS__)                                                     \
    X(i32, int32_t, uint32_t, INT32_MIN, INT32_MAX, ##__VA_ARGS__)                                                     \
    X(i64, int64_t, uint64_t, INT64_MIN, INT64_MAX, ##__VA_ARGS__)
#define KI_UNSIGNED(X, ...)                                                                                            \
    X(u8, uint8_t, uint32_t, 0, UINT8_MAX, ##__VA_ARGS__)                                                              \
    X(u16, uint16_t, uint32_t, 0, UINT16_MAX, ##__VA_ARGS__)                                                           \
    X(u32, uint32_t, uint32_t, 0, UINT32_MAX, ##__VA_ARGS__)                                                           \
    X(u64, uint64_t, uint64_t, 0, UINT64_MAX, ##__VA_ARGS__)
#define KI_INTEGERS(X, ...) KI_SIGNED(X, ##__VA_ARGS__) KI_UNSIGNED(X, ##__VA_ARGS__)
#define KI_NUMBERS(X, ...) KI_FLOATS(X, ##__VA_ARGS__) KI_INTEGERS(X, ##__VA_ARGS__)

/* {[KI_F32] = f32_name__isa, ...}: a row of the table; for sources that include simd/simd.h. */
#define KI_FLOATS_OF(name) [KI_F32] = KI_NAME(f32_##name), [KI_F64] = KI_NAME(f64_##name)
#define KI_INTEGERS_OF(name)                                                                                           \
    [KI_I8] = KI_NAME(i8_##name), [KI_I16] = KI_NAME(i16_##name), [KI_I32] = KI_NAME(i32_##name),                      \
    [KI_I64] = KI_NAME(i64_##name), [KI_U8] = KI_NAME(u8_##name), [KI_U16] = KI_NAME(u16_##name),                      \
    [KI_U32] = KI_NAME(u32_##name), [KI_U64] = KI_NAME(u64_##name)
#define KI_ROW_SINGLE(name) {[KI_F32] = KI_NAME(f32_##name)}
#define KI_ROW_FLOATS(name) {KI_FLOATS_OF(name)}
#define KI_ROW_INTEGERS(name) {KI_INTEGERS_OF(name)}
#define KI_ROW_NUMBERS(name) {KI_FLOATS_OF(name), KI_INTEGERS_OF(name)}

#endif
