/* One pool of helper threads for the whole library. */
#ifndef KI_THREADS_H
#define KI_THREADS_H

#include <stddef.h>

/* One piece of work. slot: 0 <= slot < threads, different for pieces that run at the same time in one call. */
typedef void ki_task(void *context, ptrdiff_t task, int slot);

/* The first task of a slot: slot s begins with the tasks from here to the first one of slot s + 1. */
static inline ptrdiff_t ki_first_task(ptrdiff_t tasks, int threads, int slot) { return tasks * slot / threads; }

/* Runs task(context, i, slot) for 0 <= i < tasks, on the caller and up to threads - 1 helpers; returns when all are done.
 *
 * Each slot takes its own tasks in rising order and then what the others have left. The same helper gets the same slot in
 * every call if it can, so neighbouring tasks of one call and the next use the same cache. Any number of threads may call
 * at the same time: a caller never waits for a helper that has not begun to work for it, so each can finish alone. Helpers
 * are started when first needed. After a fork the child begins with no helpers. */
void ki_parallel(ki_task *task, void *context, ptrdiff_t tasks, int threads);

/* Helpers started so far in this process. */
int ki_helpers(void);

#endif
