// A block of CUDA threads as fibers on one CPU thread.
//
// A fiber runs until it must wait: at a barrier, or in an operation of its whole warp, where each lane hands in
// a record and the last one to arrive executes the operation for all 32.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "races.cuh"

namespace emulation {

struct Dim3 {
    unsigned x, y, z;
};

// Shared with launcher.py (Settings), field by field.
struct Settings {
    Dim3 grid, block;
    unsigned shared_bytes;
    int order; // of the fibers: 0 forward, 1 backward, 2 shuffled
    unsigned seed;
    int copies; // cp.async happens: 0 when it is waited for, 1 when it is issued, 2 at random
    int blocks; // their order: as of the fibers
    int races;  // in shared memory are errors
    // Results.
    long long barriers, collectives, bank_conflicts;
    char error[400];
};

struct Copy {
    void* target;
    const void* source; // null: zeros
    int bytes, group;
    bool done;
};

enum State { RUNNABLE, AT_BARRIER, IN_COLLECTIVE, DONE };

constexpr int MAX_THREADS = 1024;
constexpr size_t STACK_BYTES = 256 << 10, GUARD_BYTES = 256;
constexpr unsigned char POISON = 0xFF, GUARD = 0xA5; // 0xFFFFFFFF is a NaN

struct Fiber {
    jmp_buf top, resume; // where its thread begins, where it waits
    char* stack = nullptr; // null: never ran
    State state = DONE;
    Dim3 index{};
    bool started = false;
    int linear = 0, committed = 0;
    std::vector<Copy> copies;
};

struct Warp {
    void* record[32];
    const void* kind;
    int arrived;
};

struct Block {
    Settings* settings = nullptr;
    Dim3 index{};
    Fiber fibers[MAX_THREADS]; // arrays: a vector's operators are not inlined into unchecked functions
    Warp warps[MAX_THREADS / 32];
    std::vector<unsigned char> memory;
    unsigned char* shared = nullptr;
    size_t watched = 0; // bytes of shared memory whose accesses are noted: all or none
    Shadow shadow;
    int threads = 0, at_barrier = 0;
    bool failed = false;
    uint64_t random = 1;
    jmp_buf scheduler;
    void (*body)(void*) = nullptr;
    void* context = nullptr;
};

static Block block;
static Fiber* current = nullptr;

UNCHECKED static inline unsigned next_random() {
    block.random = block.random * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<unsigned>(block.random >> 33);
}

UNCHECKED __attribute__((noinline)) static void yield() {
    if (!_setjmp(current->resume)) _longjmp(block.scheduler, 1);
}

// Ends the launch; the fibers are abandoned where they are.
[[noreturn]] UNCHECKED __attribute__((noinline)) static void fail(const char* what) {
    if (!block.failed) {
        const Dim3 b = block.index, t = current ? current->index : Dim3{};
        snprintf(block.settings->error, sizeof block.settings->error, "%s [block (%u, %u, %u), thread (%u, %u, %u)]",
                 what, b.x, b.y, b.z, t.x, t.y, t.z);
    }
    block.failed = true;
    _longjmp(block.scheduler, 1);
}

UNCHECKED static inline void check_aligned(const void* pointer, size_t bytes, const char* what) {
    if (reinterpret_cast<uintptr_t>(pointer) % bytes) fail(what);
}

UNCHECKED static inline void check_shared(const void* pointer, size_t bytes, const char* what) {
    const unsigned char* p = static_cast<const unsigned char*>(pointer);
    if (p < block.shared || p + bytes > block.shared + block.settings->shared_bytes) fail(what);
}

[[noreturn]] UNCHECKED __attribute__((noinline)) static void fail_race(Access access, Fiber& f) {
    static const char* const names[] = {"read", "write", "cp.async"};
    const Race& r = block.shadow.race;
    const Dim3 a = block.fibers[r.thread - 1].index, b = f.index;
    char what[240];
    snprintf(what, sizeof what,
             "race at byte %zu of shared memory: %s by thread (%u, %u, %u), then %s by thread (%u, %u, %u), %s", r.byte,
             names[r.access], a.x, a.y, a.z, names[access], b.x, b.y, b.z,
             r.pending ? "before the copy was waited for" : "no barrier between them");
    current = &f;
    fail(what);
}

// Notes an access of a thread, if it falls into shared memory.
UNCHECKED static inline void touch(const void* pointer, size_t bytes, Access access, Fiber* by = nullptr) {
    const size_t at = static_cast<const unsigned char*>(pointer) - block.shared;
    if (at >= block.watched) return;
    Fiber& f = by ? *by : *current;
    if (bytes > block.watched - at) bytes = block.watched - at; // the rest is found in the guard
    if (!block.shadow.note(at, bytes, access, f.linear + 1)) fail_race(access, f);
}

UNCHECKED static inline void barrier() {
    block.settings->barriers += current->linear == 0;
    if (++block.at_barrier == block.threads) {
        block.at_barrier = 0;
        block.shadow.next_epoch();
        for (int i = 0; i < block.threads; ++i)
            if (block.fibers[i].state == AT_BARRIER) block.fibers[i].state = RUNNABLE;
        return;
    }
    current->state = AT_BARRIER;
    yield();
}

// Hands in this lane's record; returns when Record::execute(records of all 32 lanes) has run.
template <typename Record>
UNCHECKED static inline void collective(Record* mine) {
    static const char kind = 0;
    Warp& warp = block.warps[current->linear / 32];
    if (warp.arrived && warp.kind != &kind) fail("the lanes of a warp are in different warp operations");
    warp.kind = &kind;
    warp.record[current->linear % 32] = mine;
    if (++warp.arrived < 32) {
        current->state = IN_COLLECTIVE;
        yield();
        return;
    }
    warp.arrived = 0;
    block.settings->collectives++;
    Record::execute(reinterpret_cast<Record**>(warp.record));
    const int first = current->linear / 32 * 32;
    for (int lane = 0; lane < 32; ++lane) block.fibers[first + lane].state = RUNNABLE;
}

UNCHECKED static inline void perform(const Copy& c) {
    if (c.source)
        memcpy(c.target, c.source, c.bytes);
    else
        memset(c.target, 0, c.bytes);
}

UNCHECKED static inline void start_copy(void* shared, const void* global, int bytes, bool valid) {
    check_shared(shared, bytes, "cp.async writes outside the block's shared memory");
    check_aligned(shared, bytes, "cp.async to a misaligned shared address");
    check_aligned(global, bytes, "cp.async from a misaligned global address");
    touch(shared, bytes, COPY);
    const int when = block.settings->copies;
    const Copy copy{shared, valid ? global : nullptr, bytes, current->committed,
                    when == 1 || (when == 2 && next_random() % 2)};
    if (copy.done) perform(copy);
    current->copies.push_back(copy);
}

UNCHECKED static inline void wait_copies(int unfinished) {
    Copy* copies = current->copies.data();
    size_t kept = 0;
    for (size_t i = 0; i < current->copies.size(); ++i) {
        const Copy c = copies[i];
        if (c.group >= current->committed - unfinished) {
            copies[kept++] = c;
            continue;
        }
        if (!c.done) perform(c);
        if (block.watched)
            block.shadow.arrive(static_cast<unsigned char*>(c.target) - block.shared, c.bytes, current->linear + 1);
    }
    current->copies.resize(kept);
}

// Every thread of a fiber begins here: entering a new context for each one costs system calls.
UNCHECKED static void fiber_main() {
    _setjmp(current->top);
    block.body(block.context);
    current->state = DONE;
    _longjmp(block.scheduler, 1);
}

UNCHECKED static void enter_fiber(Fiber& f) {
    ucontext_t start;
    f.stack = static_cast<char*>(malloc(STACK_BYTES));
    getcontext(&start);
    start.uc_stack.ss_sp = f.stack;
    start.uc_stack.ss_size = STACK_BYTES;
    start.uc_link = nullptr;
    makecontext(&start, fiber_main, 0);
    setcontext(&start);
}

UNCHECKED __attribute__((noinline)) static void resume_fiber(Fiber& f) {
    current = &f;
    if (!_setjmp(block.scheduler)) {
        const bool started = f.started;
        f.started = true;
        if (!f.stack) enter_fiber(f);
        _longjmp(started ? f.resume : f.top, 1);
    }
}

UNCHECKED static void run_block() {
    Settings& s = *block.settings;
    memset(block.memory.data(), GUARD, block.memory.size());
    memset(block.shared, POISON, s.shared_bytes);
    block.at_barrier = 0;
    block.shadow.next_epoch();
    bool unfinished = false;
    for (Warp& w : block.warps) w.arrived = 0;
    int order[MAX_THREADS];
    for (int i = 0; i < block.threads; ++i) {
        order[i] = s.order == 1 ? block.threads - 1 - i : i;
        Fiber& f = block.fibers[i];
        f.state = RUNNABLE;
        f.started = false;
        f.committed = 0;
        unfinished |= !f.copies.empty();
        f.copies.clear();
    }
    if (unfinished) block.shadow.clear(block.watched); // copies that the last block never waited for
    for (int done = 0; done < block.threads;) {
        if (s.order == 2)
            for (int i = block.threads - 1; i > 0; --i) std::swap(order[i], order[next_random() % (i + 1)]);
        bool progress = false;
        for (int turn = 0; turn < block.threads; ++turn) {
            Fiber& f = block.fibers[order[turn]];
            if (f.state != RUNNABLE) continue;
            progress = true;
            resume_fiber(f);
            if (block.failed) return;
            done += f.state == DONE;
        }
        if (!progress && done < block.threads) {
            current = nullptr;
            block.failed = true;
            snprintf(s.error, sizeof s.error,
                     "deadlock: %d of %d threads ended, %d wait at the barrier, the others in warp operations", done,
                     block.threads, block.at_barrier);
            return;
        }
    }
    current = nullptr;
    const unsigned char *begin = block.memory.data(), *end = begin + block.memory.size();
    for (const unsigned char* p = begin; p < end; ++p)
        if ((p < block.shared || p >= block.shared + s.shared_bytes) && *p != GUARD) {
            block.failed = true;
            snprintf(s.error, sizeof s.error, "a thread wrote outside the block's %u bytes of shared memory",
                     s.shared_bytes);
            return;
        }
}

UNCHECKED static void run_grid(Settings* s) {
    block.settings = s;
    block.failed = false;
    block.threads = s->block.x * s->block.y * s->block.z;
    block.random = s->seed * 2 + 1;
    s->error[0] = 0;
    s->barriers = s->collectives = s->bank_conflicts = 0;
    const Dim3 g = s->grid;
    if (block.threads < 1 || block.threads > MAX_THREADS || g.x < 1 || g.y < 1 || g.z < 1 || g.y > 65535 ||
        g.z > 65535 || s->shared_bytes > 227 << 10) {
        snprintf(s->error, sizeof s->error, "invalid launch: grid (%u, %u, %u), %d threads, %u bytes of shared memory",
                 g.x, g.y, g.z, block.threads, s->shared_bytes);
        return;
    }
    for (int i = 0; i < block.threads; ++i) {
        const unsigned x = s->block.x, y = s->block.y;
        block.fibers[i].linear = i;
        block.fibers[i].index = {i % x, i / x % y, i / x / y};
    }
    block.memory.resize(s->shared_bytes + 2 * GUARD_BYTES + 128);
    const uintptr_t start = reinterpret_cast<uintptr_t>(block.memory.data()) + GUARD_BYTES;
    block.shared = reinterpret_cast<unsigned char*>((start + 127) / 128 * 128);
    block.watched = s->races ? s->shared_bytes : 0;
    block.shadow.clear(block.watched);
    const uint64_t blocks = static_cast<uint64_t>(g.x) * g.y * g.z;
    std::vector<uint64_t> shuffled(s->blocks == 2 ? blocks : 0);
    for (uint64_t i = 0; i < shuffled.size(); ++i) shuffled[i] = i;
    for (uint64_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[next_random() % i]);
    for (uint64_t i = 0; i < blocks; ++i) {
        const uint64_t at = s->blocks == 2 ? shuffled[i] : s->blocks == 1 ? blocks - 1 - i : i;
        block.index = {static_cast<unsigned>(at % g.x), static_cast<unsigned>(at / g.x % g.y),
                       static_cast<unsigned>(at / g.x / g.y)};
        run_block();
        if (block.failed) return;
    }
}

// Calls the kernel as cuLaunchKernel does: args[i] points at the value of parameter i.
template <typename... P>
struct Call {
    void (*kernel)(P...);
    void** args;

    template <size_t... I>
    void apply(std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_const_t<P>*>(args[I])...);
    }

    static void body(void* self) { static_cast<Call*>(self)->apply(std::index_sequence_for<P...>()); }
};

template <typename... P>
static void launch(void (*kernel)(P...), void** args, Settings* settings) {
    Call<P...> call{kernel, args};
    block.body = Call<P...>::body;
    block.context = &call;
    run_grid(settings);
}

// Kinds and sizes of a kernel's parameters, for the launcher's check: 'p' pointer, 'f' float, 'i' integer, 's' struct.
template <typename... P>
static int describe(void (*)(P...), char* kinds, int* sizes) {
    int n = 0;
    ((kinds[n] = std::is_pointer<P>::value          ? 'p'
                 : std::is_floating_point<P>::value ? 'f'
                 : std::is_integral<P>::value       ? 'i'
                                                    : 's',
      sizes[n++] = static_cast<int>(sizeof(P))),
     ...);
    return n;
}

// What a kernel reads of these stays the same from its first line to its last.
UNCHECKED __attribute__((const, noinline)) static Dim3 thread_index() {
    return current->index;
}

UNCHECKED __attribute__((const, noinline)) static Dim3 block_index() {
    return block.index;
}

UNCHECKED __attribute__((const, noinline)) static Dim3 block_size() {
    return block.settings->block;
}

UNCHECKED __attribute__((const, noinline)) static Dim3 grid_size() {
    return block.settings->grid;
}

} // namespace emulation
