/* Products of narrow numbers (dot.h) on one instruction set. */
#include "dot.h"

#include <string.h>

#if defined(KI_X86)
#include <immintrin.h>
#endif

#include "dot_sets.h"
#include "threads.h"

/* Vectors of 512 bits. */
#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512) || defined(KI_DOT_AVX512_VNNI) || defined(KI_DOT_AVX512_BF16)
#define KI_DOT_WIDE 1
#endif

#define KI_DOT_INLINE static inline __attribute__((always_inline))

#if defined(KI_DOT_AMX)
#define SET amx
#elif defined(KI_DOT_AVX512_BF16)
#define SET avx512_bf16
#elif defined(KI_DOT_AVX512_VNNI)
#define SET avx512_vnni
#elif defined(KI_DOT_AVX512)
#define SET avx512
#elif defined(KI_DOT_AVX2_VNNI)
#define SET avx2_vnni
#elif defined(KI_DOT_AVX2)
#define SET avx2
#else
#define SET portable
#endif

/* Profiles and reports of sanitizers tell the sets apart by the names of functions. */
#define NAMED_(name, set) dot_##name##__##set
#define NAMED(name, set) NAMED_(name, set)
#define begin_tiles NAMED(begin_tiles, SET)
#define end_tiles NAMED(end_tiles, SET)
#define fill_rows NAMED(fill_rows, SET)
#define fill_line NAMED(fill_line, SET)
#define put_runs NAMED(put_runs, SET)
#define finish_panel NAMED(finish_panel, SET)
#define finish_floats NAMED(finish_floats, SET)
#define finish_bytes NAMED(finish_bytes, SET)
#define bf16_block NAMED(bf16_block, SET)
#define byte_block NAMED(byte_block, SET)
#define panel_of_group NAMED(panel_of_group, SET)
#define pad_cells NAMED(pad_cells, SET)
#define fill_cells NAMED(fill_cells, SET)
#define finish_cells NAMED(finish_cells, SET)
#define panel_of_cells NAMED(panel_of_cells, SET)
#define cells_task NAMED(cells_task, SET)
#define dot_task NAMED(dot_task, SET)
#define pack_vector NAMED(pack_vector, SET)
#define run NAMED(run, SET)
#define pack NAMED(pack, SET)

#include "dot_tile.h"
#include "dot_rows.h"
#include "dot_epilogue.h"

typedef struct {
    const ki_dot_args *args;
    ptrdiff_t pixels, groups, splits, panels, per_row; /* per_row: inputs of a pixel */
    ptrdiff_t direct; /* bytes between pixels of x, where blocks of it are used as they lie, else 0 */
    int few;          /* fewer pixels than weights are wide: threads share these */
    ki_dot_plan plan; /* of taps that are read from cells; a group is ``parts`` of an image, or some images */
    ptrdiff_t parts;
} work;

/* Images and output lines whose cells are in a thread's part of the workspace, or in x. */
typedef struct {
    ptrdiff_t image, images, line, lines, image_bytes;
    const char *cells;
    int32_t *sums;
} cells_group;

static inline char *slot_of(const ki_dot_args *args, int slot) {
    return args->workspace + slot * ki_dot_slot_bytes(args);
}

/* The rows in a thread's part of the workspace. */
static inline char *rows_of(const ki_dot_args *args, char *slot) { return slot + 64 + args->rows * KI_DOT_PANEL * 4; }

/* Tasks per thread, so that they finish together; blocks of a group below which a panel is read too often. */
enum { SHARES = 4, FEW_BLOCKS = 4 };

/* Pixels that lie farther apart are copied: tiles would load slower than that takes (768 channels: 0.10 and 0.07 ms). */
enum { DIRECT_BYTES = 256 };

/* Steps of a panel that stay in the L1 cache while all blocks of a group are multiplied with them. */
enum { PASS_STEPS = 14 };

static inline finish_args finish_of(const work *w, const ki_dot_out *out, ptrdiff_t first, ptrdiff_t valid) {
    const char *after = (const char *)out->w + ki_dot_panel_bytes(w->args->steps, out->cout);
    return (finish_args){
        .args = w->args, .out = out, .first = first, .valid = valid, .stride = 1, .fixed = (const int32_t *)after};
}

/* All pixels of a group times one panel, in passes over the steps; ``ahead``: the panel that comes next. */
static void panel_of_group(const work *w, const ki_dot_out *out, ptrdiff_t panel, ptrdiff_t from, ptrdiff_t to,
                           char *slot, const char *ahead, ptrdiff_t ahead_bytes) {
    const ki_dot_args *args = w->args;
    const ptrdiff_t first = panel * KI_DOT_PANEL, rest = out->cout - first, steps = args->steps;
    const ptrdiff_t valid = rest < KI_DOT_PANEL ? rest : KI_DOT_PANEL, pitch = ki_dot_pitch(steps);
    const ptrdiff_t blocks = (to - from + KI_DOT_BLOCK - 1) / KI_DOT_BLOCK;
    const ptrdiff_t passes = blocks > 2 ? (steps + PASS_STEPS - 1) / PASS_STEPS : 1;
    ptrdiff_t lines = (ahead_bytes + 63) / 64;
    const ptrdiff_t share = (lines + blocks * steps - 1) / (blocks * steps);
    const int bytes = ki_dot_is_bytes(args->from);
    static const ptrdiff_t here[1] = {0};
    block_args block = {.vectors = valid > KI_DOT_LANES ? 2 : 1, .ahead = ahead, .runs = 1, .offsets = here};
    finish_args finish = finish_of(w, out, first, valid);
    int32_t *sums = (int32_t *)(slot + 64);
    const char *rows = rows_of(args, slot), *weights = (const char *)out->w + panel * steps * 2048;
    for (ptrdiff_t pass = 0; pass < passes; pass++) {
        const ptrdiff_t s0 = steps * pass / passes, s1 = steps * (pass + 1) / passes;
        block.w = weights + s0 * block.vectors * 1024;
        block.steps = s1 - s0;
        block.more = pass > 0;
        for (ptrdiff_t p = from; p < to; p += KI_DOT_BLOCK) {
            block.rows = (int)(to - p < KI_DOT_BLOCK ? to - p : KI_DOT_BLOCK);
            const int as_it_lies = w->direct && block.rows == KI_DOT_BLOCK; /* tiles read whole blocks */
            block.pitch = as_it_lies ? w->direct : pitch;
            block.a = as_it_lies ? (const char *)args->x + p * w->direct : rows + (p - from) * pitch;
            block.a += s0 * KI_DOT_STEP;
            block.sums = sums + (p - from) * KI_DOT_PANEL;
            block.lines = lines >= share * block.steps ? share : 0;
            (bytes ? byte_block : bf16_block)(&block);
            block.ahead += block.lines * block.steps * 64;
            lines -= block.lines * block.steps;
            if (pass + 1 < passes) continue;
            finish.pixel = p, finish.rows = block.rows, finish.sums = block.sums;
            (bytes ? finish_bytes : finish_floats)(&finish);
        }
    }
}

/* Panel ``index`` of all products: its product, and its number there. */
static const ki_dot_out *find_panel(const ki_dot_args *args, ptrdiff_t *index) {
    const ki_dot_out *out = args->outs;
    for (;; out++) {
        const ptrdiff_t own = (out->cout + KI_DOT_PANEL - 1) / KI_DOT_PANEL;
        if (*index < own) return out;
        *index -= own;
    }
}

/* The panel that follows ``panel``, and its bytes. */
static const char *panel_after(const work *w, ptrdiff_t panel, ptrdiff_t *bytes) {
    const ki_dot_args *args = w->args;
    ptrdiff_t next = panel + 1;
    *bytes = 0;
    if (next >= w->panels) return NULL;
    const ki_dot_out *out = find_panel(args, &next);
    *bytes = args->steps * (out->cout - next * KI_DOT_PANEL > KI_DOT_LANES ? 2048 : 1024);
    return (const char *)out->w + next * args->steps * 2048;
}

/* One group of pixels by some panels. */
static void dot_task(void *context, ptrdiff_t index, int slot) {
    const work *w = context;
    const ki_dot_args *args = w->args;
    const ptrdiff_t group = index / w->splits, split = index % w->splits;
    const ptrdiff_t units = (w->pixels + KI_DOT_BLOCK - 1) / KI_DOT_BLOCK;
    const ptrdiff_t from = units * group / w->groups * KI_DOT_BLOCK;
    const ptrdiff_t end_unit = units * (group + 1) / w->groups;
    const ptrdiff_t to = end_unit * KI_DOT_BLOCK < w->pixels ? end_unit * KI_DOT_BLOCK : w->pixels;
    char *own = slot_of(args, slot);
    ptrdiff_t *held = (ptrdiff_t *)own; /* the group whose rows are in the buffer, plus 1 */
    if (*held != group + 1) {
        const ptrdiff_t whole = w->direct ? (to - from) / KI_DOT_BLOCK * KI_DOT_BLOCK : 0;
        fill_rows(args, rows_of(args, own) + whole * ki_dot_pitch(args->steps), from + whole, to);
        *held = group + 1;
    }
    begin_tiles();
    const ptrdiff_t first = w->panels * split / w->splits, end = w->panels * (split + 1) / w->splits;
    for (ptrdiff_t panel = first; panel < end; panel++) {
        ptrdiff_t here = panel, ahead_bytes;
        const ki_dot_out *out = find_panel(args, &here);
        const char *ahead = panel_after(w, panel, &ahead_bytes);
        panel_of_group(w, out, here, from, to, own, ahead, ahead_bytes);
    }
    end_tiles();
}

#include "dot_taps.h"

/* Bytes between pixels if x can be used as it lies: one tap, whole steps. */
static ptrdiff_t direct_pitch(const ki_dot_args *args, ptrdiff_t per_row) {
    const ki_dot_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t bytes = args->x_pitch * element_bytes(args);
    for (int i = 0; i < 2; i++)
        if (args->axis[i].stride != 1 || args->axis[i].before != 0) return 0;
    if (a->taps != 1 || b->taps != 1 || a->in != a->out || b->in != b->out) return 0;
    if (args->from == KI_DOT_F32 || args->from == KI_DOT_S8 || per_row % ki_dot_depth(args->from)) return 0;
    return bytes % 64 || bytes > DIRECT_BYTES ? 0 : bytes;
}

static void run(const ki_dot_args *args) {
    const ki_dot_axis *a = &args->axis[0], *b = &args->axis[1];
    work w = {.args = args, .pixels = args->batch * a->out * b->out, .per_row = a->taps * b->taps * args->cin};
    ptrdiff_t channels = 0;
    for (int i = 0; i < args->count; i++) {
        w.panels += (args->outs[i].cout + KI_DOT_PANEL - 1) / KI_DOT_PANEL;
        channels += args->outs[i].cout;
    }
    if (w.pixels < 1 || w.panels < 1) return;
    w.few = w.pixels < channels;
    if (args->tap_steps) {
        ki_dot_make_plan(args, &w.plan);
        divide_cells(&w);
    } else {
        w.direct = direct_pitch(args, w.per_row);
        w.groups = (w.pixels + args->rows - 1) / args->rows;
    }
    const ptrdiff_t blocks = (w.pixels + KI_DOT_BLOCK - 1) / KI_DOT_BLOCK, threads = args->threads;
    w.splits = 1;
    if (threads > 1 && w.few) { /* each thread reads a part of the weights */
        w.splits = SHARES * threads / w.groups + 1;
        if (w.splits > w.panels) w.splits = w.panels;
    } else if (threads > 1 && !args->tap_steps) {
        ptrdiff_t shares = blocks / FEW_BLOCKS < SHARES * threads ? blocks / FEW_BLOCKS : SHARES * threads;
        if (shares < threads) shares = blocks < threads ? blocks : threads;
        if (w.groups < shares) w.groups = shares;
    }
    for (int s = 0; s < args->threads; s++) *(ptrdiff_t *)slot_of(args, s) = 0;
    ki_parallel(args->tap_steps ? cells_task : dot_task, &w, w.groups * w.splits, args->threads);
}

/* --- packing -------------------------------------------------------------------------------------------------------- */

/* One vector of 16 channels, all steps. */
static void pack_vector(void *context, ptrdiff_t vector, int slot) {
    (void)slot;
    const ki_dot_pack_args *args = context;
    const ptrdiff_t part = args->rows / args->taps, part_steps = ki_dot_steps(args->from, part);
    const ptrdiff_t steps = args->taps * part_steps, vectors = ki_dot_vectors(args->cout);
    const ptrdiff_t panel = vector / 2, wide = vectors - panel * 2 >= 2 ? 2 : 1, first = vector * KI_DOT_LANES;
    const ptrdiff_t valid = args->cout - first < KI_DOT_LANES ? args->cout - first : KI_DOT_LANES;
    const int bytes = ki_dot_is_bytes(args->from), group = bytes ? 4 : 2;
    char *to = (char *)args->packed + panel * steps * 2048 + vector % 2 * 1024;
    int32_t sums[KI_DOT_LANES] = {0};
    for (ptrdiff_t s = 0; s < steps; s++, to += wide * 1024) {
        memset(to, 0, 1024);
        const ptrdiff_t begin = s % part_steps * 16 * group, row = s / part_steps * part + begin;
        const ptrdiff_t end = part - begin < 16 * group ? part - begin : 16 * group;
        for (ptrdiff_t i = 0; i < end; i++) {
            const ptrdiff_t at = (row + i) * args->row_step + first * args->col_step;
            const ptrdiff_t place = i / group * KI_DOT_LANES * group + i % group;
            if (!bytes) {
                const float *w = (const float *)args->w + at;
                uint16_t *row = (uint16_t *)to + place;
                for (ptrdiff_t o = 0; o < valid; o++) row[o * group] = bfloat16_of(w[o * args->col_step]);
            } else {
                const int8_t *w = (const int8_t *)args->w + at;
                int8_t *row = (int8_t *)to + place;
                for (ptrdiff_t o = 0; o < valid; o++) {
                    row[o * group] = w[o * args->col_step];
                    sums[o] = (int32_t)((uint32_t)sums[o] + (uint32_t)w[o * args->col_step]);
                }
            }
        }
    }
    if (bytes) {
        int32_t *fixed = (int32_t *)((char *)args->packed + ki_dot_panel_bytes(steps, args->cout)) + first;
        for (int o = 0; o < KI_DOT_LANES; o++) fixed[o] = (int32_t)(0u - (uint32_t)args->x_zero * (uint32_t)sums[o]);
    }
}

static void pack(const ki_dot_pack_args *args) {
    ki_parallel(pack_vector, (void *)args, ki_dot_vectors(args->cout), args->threads);
}

#define STRING(x) #x
#define TABLE(set, below, bf16)                                                                                        \
    const ki_dot_table ki_dot_table__##set = {STRING(set),  STRING(below),     bf16, run, pack,                        \
                                              ki_dot_waste, ki_dot_plan_groups}

#if defined(KI_DOT_AMX)
TABLE(amx, avx512, 1);
#elif defined(KI_DOT_AVX512_BF16)
TABLE(avx512_bf16, avx512, 1);
#elif defined(KI_DOT_AVX512_VNNI)
TABLE(avx512_vnni, avx512, 0);
#elif defined(KI_DOT_AVX512)
TABLE(avx512, avx512, 0);
#elif defined(KI_DOT_AVX2_VNNI)
TABLE(avx2_vnni, avx2, 0);
#elif defined(KI_DOT_AVX2)
TABLE(avx2, avx2, 0);
#else
TABLE(portable, portable, 0);
#endif
