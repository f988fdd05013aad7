/* A task of a depthwise convolution of bytes, for cells taken GROUP at a time: pairs of words, or, with VNNI, four bytes. Included by
 * quantized_depthwise.c with PART(name), the name of a function of that kind, and TARGET, what its instructions need. */

#if GROUP == 2
TARGET KI_INLINE void PART(multiply)(vquad *sum, const vbytes *x, const char *w) {
    vb_dot(sum, x[0], x[1], (const int16_t *)w);
}
TARGET KI_INLINE void PART(unpack)(char *w, const vbytes *x) { vb_weights((int16_t *)w, x[0], x[1]); }
#else
/* Bytes of four cells side by side, in the order of a vquad. */
TARGET KI_INLINE vquad PART(side_by_side)(const vbytes *x) {
    const vbytes low0 = VI(unpacklo_epi8)(x[0], x[1]), low1 = VI(unpacklo_epi8)(x[2], x[3]);
    const vbytes high0 = VI(unpackhi_epi8)(x[0], x[1]), high1 = VI(unpackhi_epi8)(x[2], x[3]);
    return (vquad){{VI(unpacklo_epi16)(low0, low1), VI(unpackhi_epi16)(low0, low1), VI(unpacklo_epi16)(high0, high1),
                    VI(unpackhi_epi16)(high0, high1)}};
}
TARGET KI_INLINE void PART(multiply)(vquad *sum, const vbytes *x, const char *w) {
    const vquad bytes = PART(side_by_side)(x);
    for (int q = 0; q < 4; q++) sum->v[q] = DOT_BYTES(sum->v[q], bytes.v[q], vb_load(w + q * KI_BYTES));
}
TARGET KI_INLINE void PART(unpack)(char *w, const vbytes *x) {
    const vquad bytes = PART(side_by_side)(x);
    for (int q = 0; q < 4; q++) vb_store(w + q * KI_BYTES, bytes.v[q]);
}
#endif

/* Weights of a block, unpacked; bias less what the zero point adds to every sum. After the last channel the first follows. */
TARGET static void PART(unpack_block)(block *b, char *weights, const work *k, ptrdiff_t at, int is_signed) {
    const ki_quantized_window_args *args = k->args;
    const ki_window_args *a = &args->window;
    const ptrdiff_t channels = a->channels, first = at % channels;
    const uint32_t zero = (uint32_t)(args->x_zero + (is_signed ? 128 : 0));
    int32_t sum[KI_BYTES] = {0};
    int8_t line[GROUP][KI_BYTES];
    b->at = at;
    b->valid = at >= channels ? 0 : channels - at < KI_BYTES ? channels - at : KI_BYTES;
    for (ptrdiff_t p = 0; p < k->sets; p++) {
        vbytes x[GROUP];
        for (ptrdiff_t g = 0; g < GROUP; g++) {
            const int8_t *w = (const int8_t *)a->w + (GROUP * p + g) * channels;
            memset(line[g], 0, KI_BYTES);
            ptrdiff_t count = GROUP * p + g < k->cells ? 0 : KI_BYTES;
            for (ptrdiff_t i = count, c = first; i < KI_BYTES; i += count, c = 0) {
                count = channels - c < KI_BYTES - i ? channels - c : KI_BYTES - i;
                memcpy(line[g] + i, w + c, (size_t)count);
            }
            for (ptrdiff_t i = 0; i < KI_BYTES; i++) sum[i] += line[g][i];
            x[g] = vb_load(line[g]);
        }
        PART(unpack)(weights + p * SET_BYTES, x);
    }
    for (ptrdiff_t i = 0, c = first; i < KI_BYTES; i++, c = c + 1 == channels ? 0 : c + 1) {
        b->start[KI_PLACE(i)] = (int32_t)((uint32_t)((const int32_t *)a->bias)[c] - zero * (uint32_t)sum[i]);
        b->factor[KI_PLACE(i)] = args->multiplier[c];
    }
}

TARGET KI_INLINE vquad PART(dot_cells)(vquad sum, const uint8_t *x, const ptrdiff_t *offset, ptrdiff_t sets,
                                       const char *weights, ptrdiff_t valid, const int is_signed) {
    for (ptrdiff_t p = 0; p < sets; p++) {
        vbytes cell[GROUP];
        for (int g = 0; g < GROUP; g++) {
            cell[g] = vb_load_part((const uint8_t *)((uintptr_t)x + (uintptr_t)offset[GROUP * p + g]), valid);
            if (is_signed) cell[g] = vb_xor(cell[g], vb_set1(128));
        }
        PART(multiply)(&sum, cell, weights + p * SET_BYTES);
    }
    return sum;
}

/* What the sums of a block become, at y. */
TARGET KI_INLINE void PART(finish)(const ki_quantized_window_args *args, const block *b, const ki_bounds *range,
                                   vquad sum, char *y, ptrdiff_t valid) {
    if (args->y_type == KI_I8 || args->y_type == KI_U8) {
        vf32 v[4];
        for (int q = 0; q < 4; q++) v[q] = vf32_mul(vq_float(sum, q), vf32_load(b->factor + q * VF32_LANES));
        vb_store_part(y, vb_requantized(vb_quad(v, range), range), valid);
        return;
    }
    int32_t sums[KI_BYTES];
    vq_store(sums, sum);
    for (ptrdiff_t i = 0; i < valid; i++)
        if (args->y_type == KI_I32)
            ((int32_t *)y)[i] = sums[KI_PLACE(i)];
        else
            ((float *)y)[i] = (float)sums[KI_PLACE(i)] * b->factor[KI_PLACE(i)];
}

TARGET KI_INLINE void PART(dot_block)(const work *k, const block *b, const ki_bounds *bounds, const char *weights,
                                      const uint8_t *x, const ptrdiff_t *offset, char *y, ptrdiff_t valid,
                                      const int is_signed) {
    vquad sum = vq_load(b->start);
    if (valid < KI_BYTES) {
        sum = PART(dot_cells)(sum, x, offset, k->sets, weights, valid, is_signed);
        PART(finish)(k->args, b, bounds, sum, y, valid);
        return;
    }
    sum = k->sets == (GROUP == 2 ? 5 : 3)
              ? PART(dot_cells)(sum, x, offset, GROUP == 2 ? 5 : 3, weights, KI_BYTES, is_signed)
              : PART(dot_cells)(sum, x, offset, k->sets, weights, KI_BYTES, is_signed);
    PART(finish)(k->args, b, bounds, sum, y, KI_BYTES);
}

TARGET KI_INLINE void PART(depthwise)(void *context, ptrdiff_t index, const int is_signed) {
    const work *k = context;
    const ki_quantized_window_args *args = k->args;
    const ki_window_args *a = &args->window;
    _Alignas(64) char weights[2 * SETS * SET_BYTES];
    block b[PHASES];
    _Alignas(64) uint8_t padding[PHASES * KI_BYTES];
    ptrdiff_t inner[MOST], border[MOST];
    const ki_bounds bounds = ki_bounds_of(args->y_zero, args->low, args->high, args->y_type == KI_U8);
    const ptrdiff_t chunk = index % k->chunks, group = index / k->chunks % k->groups, n = index / k->chunks / k->groups;
    const ptrdiff_t c = chunk * k->blocks * KI_BYTES, d1 = a->dilation[1], item = item_of(args);
    const ptrdiff_t size = k->sets * SET_BYTES; /* of a block's weights */
    ptrdiff_t blocks = 0;
    for (ptrdiff_t i = 0; i < k->blocks && (k->flat || c + i * KI_BYTES < a->channels); i++) {
        ptrdiff_t at = c + i * KI_BYTES;
        if (!k->flat && at + KI_BYTES > a->channels && a->channels > KI_BYTES) at = a->channels - KI_BYTES;
        PART(unpack_block)(&b[i], weights + i * size, k, at, is_signed);
        if (b[i].valid) blocks++;
    }
    const ptrdiff_t base = b[0].at;
    memset(padding, args->x_zero, sizeof padding);
    for (ptrdiff_t p = 0; p < GROUP * k->sets; p++) {
        const ptrdiff_t cell = p < k->cells ? p : 0;
        /* Unsigned: what lies far outside is not used. */
        inner[p] = (ptrdiff_t)((size_t)(cell / a->window[1]) * (size_t)a->dilation[0] * (size_t)a->x_row +
                               (size_t)(cell % a->window[1]) * (size_t)d1 * (size_t)a->x_step);
    }
    const ptrdiff_t end = (group + 1) * k->rows < a->out[0] ? (group + 1) * k->rows : a->out[0];
    for (ptrdiff_t r = group * k->rows; r < end; r++) {
        const span u = span_of(a, 0, r);
        const int rows_inside = u.from == 0 && u.to == a->window[0];
        char *y = (char *)a->y + (n * a->y_image + r * a->y_row) * item;
        const uintptr_t row =
            (uintptr_t)a->x + (uintptr_t)(n * a->x_image + base) + (uintptr_t)u.at * (uintptr_t)a->x_row;
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {
            const span v = span_of(a, 1, o);
            const uintptr_t x = row + (uintptr_t)v.at * (uintptr_t)a->x_step;
            const int inside = rows_inside && v.from == 0 && v.to == a->window[1];
            if (inside && k->flat) {
                /* As far as windows lie inside. */
                ptrdiff_t last = a->in[1] - (a->window[1] - 1) * d1 + a->before[1];
                if (last > a->out[1]) last = a->out[1];
                const ptrdiff_t bytes = (last - o) * a->channels;
                for (ptrdiff_t at = 0, i = 0; at < bytes; at += KI_BYTES, i = i + 1 == k->blocks ? 0 : i + 1)
                    PART(dot_block)(k, &b[i], &bounds, weights + i * size, (const uint8_t *)x + at, inner,
                                    y + (o * a->channels + at) * item, bytes - at, is_signed);
                o = last - 1;
                continue;
            }
            if (!inside) {
                for (ptrdiff_t p = 0; p < GROUP * k->sets; p++) border[p] = (ptrdiff_t)((uintptr_t)padding - x);
                for (ptrdiff_t i = u.from; i < u.to; i++)
                    for (ptrdiff_t j = v.from; j < v.to; j++)
                        border[i * a->window[1] + j] = inner[i * a->window[1] + j];
            }
            for (ptrdiff_t i = 0; i < blocks; i++)
                PART(dot_block)(k, &b[i], &bounds, weights + i * size,
                                (const uint8_t *)(x + (uintptr_t)(b[i].at - base)), inside ? inner : border,
                                y + (o * a->y_step + b[i].at) * item, b[i].valid, is_signed);
        }
    }
}
