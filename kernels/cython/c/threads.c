/* The thread pool. Jobs live on their callers' stacks and are listed while they want helpers.
 *
 * A helper joins a job under the lock (so a job cannot vanish under it), works without the lock, and leaves under the
 * lock. The caller works too; when all tasks are taken it takes its job off the list and waits for the helpers that
 * are still inside, each of which is in its last task. Between jobs a helper spins for SPIN_NS, then sleeps. Joining
 * takes about 0.3 us, measured: a lock-free queue would gain nothing. */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { MAX_HELPERS = 1023, MAX_PARTS = 64, SPINS_PER_CLOCK = 64 };
/* How long to spin before sleeping: longer than the gaps inside a run. On a virtual machine a thread that slept comes back
 * up to a millisecond late: Inception on two threads took 37 ms when they slept after 0.1 ms, and 29 ms with this. After
 * the first part of it the helper yields the processor to others. */
enum { SPIN_NS = 2000 * 1000, ALONE_NS = 100 * 1000 };

/* The tasks that a slot begins with, alone on its cache line. */
typedef struct {
    _Alignas(64) _Atomic ptrdiff_t next;
    ptrdiff_t end;
    bool given; /* to a helper; under the lock */
} part;

typedef struct job {
    ki_task *task;
    void *context;
    int slots;          /* given out so far; under the lock */
    int threads;        /* slots that may be given out */
    int parts;          /* slots beyond them have no part of their own */
    _Atomic int inside; /* helpers at work; changed under the lock */
    struct job *following;
    part part[MAX_PARTS];
} job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;     /* for sleeping helpers */
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER; /* for callers whose helpers take long */
static job *jobs;            /* jobs that want helpers; under the lock */
static _Atomic int wanted;   /* length of that list, readable without the lock */
static int helpers, sleepers; /* under the lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Only the forking thread exists in the child: all that the others held is reset. */
static void after_fork_in_child(void) {
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    pthread_cond_init(&finished, NULL);
    jobs = NULL;
    atomic_store(&wanted, 0);
    helpers = sleepers = 0;
}

static void initialize(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/* All of the own part, then the tasks of the others that have not begun. */
static void work(job *j, int slot) {
    for (int n = 0; n < j->parts; n++) {
        part *p = &j->part[(slot + n) % j->parts];
        const ptrdiff_t end = p->end;
        if (atomic_load_explicit(&p->next, memory_order_relaxed) >= end) continue;
        ptrdiff_t i;
        while ((i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < end) j->task(j->context, i, slot);
    }
}

/* The slot for a helper that joins: the same in every job, if it is free, because its cache holds data near its
 * last work. Under the lock. */
static int give_slot(job *j, int number) {
    const int count = j->slots++, wanted_slot = 1 + number % (j->threads - 1);
    if (j->threads > MAX_PARTS) return count;
    for (int n = 0;; n++) {
        const int slot = 1 + (wanted_slot - 1 + n) % (j->threads - 1);
        if (j->part[slot].given) continue;
        j->part[slot].given = true;
        return slot;
    }
}

/* Takes a job off the list if it is on it. Under the lock. */
static void unlist(job *j) {
    for (job **p = &jobs; *p; p = &(*p)->following)
        if (*p == j) {
            *p = j->following;
            atomic_fetch_sub(&wanted, 1);
            return;
        }
}

/* Whether to spin on; the clock says how. */
static bool go_on(int64_t start) {
    const int64_t spent = now_ns() - start;
    if (spent > ALONE_NS) sched_yield();
    return spent < SPIN_NS;
}

static bool spin_until_wanted(void) {
    const int64_t start = now_ns();
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (atomic_load_explicit(&wanted, memory_order_relaxed)) return true;
            relax();
        }
    } while (go_on(start));
    return false;
}

static void *helper(void *number) {
    pthread_mutex_lock(&lock);
    for (;;) {
        job *j = jobs;
        if (!j) {
            pthread_mutex_unlock(&lock);
            bool found = spin_until_wanted();
            pthread_mutex_lock(&lock);
            while (!found && !jobs) {
                sleepers++;
                pthread_cond_wait(&wake, &lock);
                sleepers--;
            }
            continue;
        }
        int slot = give_slot(j, (int)(intptr_t)number);
        if (j->slots >= j->threads) unlist(j);
        atomic_fetch_add_explicit(&j->inside, 1, memory_order_relaxed);
        pthread_mutex_unlock(&lock);
        work(j, slot);
        pthread_mutex_lock(&lock);
        unlist(j); /* all tasks are taken: nobody else need join */
        if (atomic_fetch_sub_explicit(&j->inside, 1, memory_order_release) == 1) pthread_cond_broadcast(&finished);
    }
    return NULL;
}

/* Starts helpers until there are ``count``; fewer is no error, callers can finish alone. Under the lock. */
static void start_helpers(int count) {
    if (count > MAX_HELPERS) count = MAX_HELPERS;
    if (helpers >= count) return;
    sigset_t all, old;
    sigfillset(&all); /* signals belong to the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attributes;
    if (!pthread_attr_init(&attributes)) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_t id;
        while (helpers < count && !pthread_create(&id, &attributes, helper, (void *)(intptr_t)helpers)) helpers++;
        pthread_attr_destroy(&attributes);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void ki_parallel(ki_task *task, void *context, ptrdiff_t tasks, int threads) {
    if (threads > tasks) threads = (int)tasks;
    if (threads <= 1) {
        for (ptrdiff_t i = 0; i < tasks; i++) task(context, i, 0);
        return;
    }
    pthread_once(&once, initialize);
    job j;
    j.task = task, j.context = context, j.slots = 1, j.threads = threads, j.following = NULL;
    j.parts = threads < MAX_PARTS ? threads : MAX_PARTS;
    atomic_init(&j.inside, 0);
    for (int i = 0; i < j.parts; i++) {
        atomic_init(&j.part[i].next, ki_first_task(tasks, j.parts, i));
        j.part[i].end = ki_first_task(tasks, j.parts, i + 1);
        j.part[i].given = false;
    }
    pthread_mutex_lock(&lock);
    start_helpers(threads - 1);
    job **last = &jobs;
    while (*last) last = &(*last)->following;
    *last = &j;
    atomic_fetch_add(&wanted, 1);
    if (sleepers) pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);

    work(&j, 0);

    pthread_mutex_lock(&lock);
    unlist(&j);
    pthread_mutex_unlock(&lock);
    const int64_t start = now_ns();
    while (atomic_load_explicit(&j.inside, memory_order_acquire)) {
        relax();
        if (go_on(start)) continue;
        pthread_mutex_lock(&lock);
        while (atomic_load_explicit(&j.inside, memory_order_acquire)) pthread_cond_wait(&finished, &lock);
        pthread_mutex_unlock(&lock);
    }
}

int ki_helpers(void) {
    pthread_mutex_lock(&lock);
    int count = helpers;
    pthread_mutex_unlock(&lock);
    return count;
}
