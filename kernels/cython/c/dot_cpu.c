/* Which sets of dot.h this processor and operating system can run. */
#include "dot_sets.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

ptrdiff_t ki_l2_bytes(void) {
#if defined(_SC_LEVEL2_CACHE_SIZE) /* of glibc */
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return found > 0 ? found : 0;
#else
    return 0;
#endif
}

#if defined(KI_X86) && defined(__linux__)
#include <sys/syscall.h>

/* Linux gives a process the large registers of AMX when it asks (arch_prctl ARCH_REQ_XCOMP_PERM, feature 18). */
static int amx_permitted(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#else
static inline int amx_permitted(void) { return 0; }
#endif

const ki_dot_table *const *ki_usable_dots(void) {
    static const ki_dot_table *tables[8];
    int count = 0;
#if defined(KI_X86)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    const int vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    const int bf16 = vnni && __builtin_cpu_supports("avx512bf16");
    if (bf16 && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
        __builtin_cpu_supports("amx-int8") && amx_permitted())
        tables[count++] = &ki_dot_table__amx;
    if (bf16) tables[count++] = &ki_dot_table__avx512_bf16;
    if (vnni) tables[count++] = &ki_dot_table__avx512_vnni;
    if (avx512) tables[count++] = &ki_dot_table__avx512;
    if (avx2 && __builtin_cpu_supports("avxvnni")) tables[count++] = &ki_dot_table__avx2_vnni;
    if (avx2) tables[count++] = &ki_dot_table__avx2;
#endif
    tables[count++] = &ki_dot_table__portable;
    tables[count] = 0;
    return tables;
}
