// Shadow memory: which threads have read and written each byte of a block's shared memory since the last barrier.
//
// Two accesses of different threads to one byte between two barriers, at least one of them a write, are a race, in
// whatever order they happened here; lanes of one warp are no exception. A byte that a cp.async is to fill is nobody's,
// its own thread's included, until that thread has waited for the copy; then it counts as just written by that thread.
#pragma once
#include <cstddef>
#include <vector>

// Functions of the emulation are not instrumented: what they do to shared memory they note themselves.
#define UNCHECKED __attribute__((no_sanitize_thread))

namespace emulation {

enum Access : unsigned char { READ, WRITE, COPY };

// Threads are counted from 1; 0 is none.
struct Cell {
    unsigned epoch; // in which the rest was noted; older notes do not count, except copier
    short writer, reader, other_reader;
    short copier; // whose cp.async is not waited for
    bool copied; // writer's access was a cp.async
    bool split; // a word whose bytes differ in this epoch: bytes[] counts
};

// Whose earlier access an access to a byte meets.
struct Race {
    size_t byte;
    int thread;
    Access access;
    bool pending; // a cp.async that is not waited for
};

// A cell per word; a word gets a cell per byte in an epoch that touches parts of it.
class Shadow {
public:
    Race race{}; // what note() found when it returned false

    UNCHECKED void clear(size_t size) {
        words.assign((size + 3) / 4, Cell{});
        word = words.data();
        epoch = 1;
    }

    UNCHECKED void next_epoch() { ++epoch; }

    // An access of `thread` to `size` bytes from `at` on; cp.async has whole words. False: a race.
    UNCHECKED bool note(size_t at, size_t size, Access access, short thread) {
        if ((at | size) % 4 == 0) {
            for (size_t i = at / 4; i < (at + size) / 4; ++i)
                if (!note_word(i, access, thread)) return false;
            return true;
        }
        for (const size_t end = at + size; at < end;) {
            const size_t rest = 4 - at % 4, count = rest < end - at ? rest : end - at;
            if (!(count == 4 ? note_word(at / 4, access, thread) : note_part(at, count, access, thread))) return false;
            at += count;
        }
        return true;
    }

    // The wait of `thread` for its cp.async into these words is over.
    UNCHECKED void arrive(size_t at, size_t size, short thread) {
        for (size_t i = at / 4; i < (at + size) / 4; ++i) word[i] = Cell{epoch, thread, 0, 0, 0, true, false};
    }

private:
    std::vector<Cell> words, bytes;
    Cell *word = nullptr, *byte = nullptr; // their data: calls of operator[] are not inlined into unchecked functions
    unsigned epoch = 1;

    UNCHECKED bool meets(size_t at, int thread, Access access, bool pending) {
        race = {at, thread, access, pending};
        return false;
    }

    UNCHECKED __attribute__((always_inline)) bool note_cell(Cell& c, size_t at, Access access, short thread) {
        if (c.copier) return meets(at, c.copier, COPY, true);
        if (c.epoch != epoch) c = Cell{epoch, 0, 0, 0, 0, false, false};
        if (c.writer && c.writer != thread) return meets(at, c.writer, c.copied ? COPY : WRITE, false);
        if (access == READ) {
            if (!c.reader)
                c.reader = thread;
            else if (c.reader != thread)
                c.other_reader = thread;
            return true;
        }
        const short reader = c.reader == thread ? c.other_reader : c.reader;
        if (reader) return meets(at, reader, READ, false);
        c.writer = thread;
        c.copied = false;
        if (access == COPY) c.copier = thread;
        return true;
    }

    UNCHECKED __attribute__((always_inline)) bool note_word(size_t i, Access access, short thread) {
        Cell& w = word[i];
        if (!w.split || w.epoch != epoch) {
            w.split = false;
            return note_cell(w, i * 4, access, thread);
        }
        for (size_t at = i * 4; at < i * 4 + 4; ++at)
            if (!note_cell(byte[at], at, access, thread)) return false;
        if (access != READ) w = byte[i * 4]; // the bytes are alike again
        return true;
    }

    UNCHECKED bool note_part(size_t at, size_t count, Access access, short thread) {
        Cell& w = word[at / 4];
        if (!w.split || w.epoch != epoch) {
            if (w.copier) return meets(at, w.copier, COPY, true);
            if (bytes.size() < words.size() * 4) {
                bytes.resize(words.size() * 4);
                byte = bytes.data();
            }
            w.split = false;
            for (size_t b = 0; b < 4; ++b) byte[at / 4 * 4 + b] = w;
            w.epoch = epoch;
            w.split = true;
        }
        for (size_t b = at; b < at + count; ++b)
            if (!note_cell(byte[b], b, access, thread)) return false;
        return true;
    }
};

} // namespace emulation
