/* Which instruction sets this processor and operating system offer. */
#ifndef KI_CPU_H
#define KI_CPU_H

#include "table.h"

enum { KI_ISAS = 3 };

/* Tables that can run here, best first; NULL after the last. */
const ki_table *const *ki_usable_tables(void);

#endif
