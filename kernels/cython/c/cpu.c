/* Choice by cpuid. __builtin_cpu_supports also asks xgetbv whether the system saves the wide registers. */
#include "cpu.h"

const ki_table *const *ki_usable_tables(void) {
    static const ki_table *tables[KI_ISAS + 1];
    int count = 0;
#if defined(KI_X86)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        tables[count++] = &ki_table__avx512;
    if (avx2) tables[count++] = &ki_table__avx2;
#endif
    tables[count++] = &ki_table__portable;
    tables[count] = 0;
    return tables;
}
