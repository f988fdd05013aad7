// What the compiler calls before each memory access of code built with -fsanitize=thread. The names are those of
// libtsan, which is not linked: the accesses that fall into the block's shared memory go to its shadow memory.
#pragma once
#include "block.cuh"

#define HOOK extern "C" __attribute__((used, visibility("hidden"))) UNCHECKED

#define ACCESS_HOOKS(prefix, size)                                                                                     \
    HOOK void __tsan_##prefix##read##size(void* p) {                                                                   \
        emulation::touch(p, size, emulation::READ);                                                                    \
    }                                                                                                                  \
    HOOK void __tsan_##prefix##write##size(void* p) {                                                                  \
        emulation::touch(p, size, emulation::WRITE);                                                                   \
    }

ACCESS_HOOKS(, 1)
ACCESS_HOOKS(, 2)
ACCESS_HOOKS(, 4)
ACCESS_HOOKS(, 8)
ACCESS_HOOKS(, 16)
ACCESS_HOOKS(unaligned_, 2)
ACCESS_HOOKS(unaligned_, 4)
ACCESS_HOOKS(unaligned_, 8)
ACCESS_HOOKS(unaligned_, 16)
// Structs.
HOOK void __tsan_read_range(void* p, size_t size) {
    emulation::touch(p, size, emulation::READ);
}
HOOK void __tsan_write_range(void* p, size_t size) {
    emulation::touch(p, size, emulation::WRITE);
}

// clang calls these for memcpy and its like.
HOOK void* __tsan_memcpy(void* target, const void* source, size_t size) {
    emulation::touch(source, size, emulation::READ);
    emulation::touch(target, size, emulation::WRITE);
    return memcpy(target, source, size);
}
HOOK void* __tsan_memmove(void* target, const void* source, size_t size) {
    emulation::touch(source, size, emulation::READ);
    emulation::touch(target, size, emulation::WRITE);
    return memmove(target, source, size);
}
HOOK void* __tsan_memset(void* target, int value, size_t size) {
    emulation::touch(target, size, emulation::WRITE);
    return memset(target, value, size);
}

// Calls that carry nothing of use here.
HOOK void __tsan_init() {}
HOOK void __tsan_func_entry(void*) {}
HOOK void __tsan_func_exit() {}
HOOK void __tsan_vptr_read(void*) {}
HOOK void __tsan_vptr_update(void*, void*) {}
