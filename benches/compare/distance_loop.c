/* Calls a peer's distance function over rows that follow each other, without an interpreter in between. */
#include <stddef.h>
#include <time.h>

typedef void (*pair_fn)(const float *, const float *, size_t, void *);
typedef void (*many_fn)(float *, const float *, const float *, size_t, size_t);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds per row of a function of two vectors that writes one result of eight bytes or fewer. */
double time_pairs(pair_fn f, const float *query, const float *rows, size_t dim, size_t count, size_t repeats, double *out) {
    double start = now();
    for (size_t turn = 0; turn < repeats; turn++)
        for (size_t row = 0; row < count; row++)
            f(query, rows + row * dim, dim, out + row);
    return (now() - start) / (double)(repeats * count);
}

/* The same of a function of one vector and many. Rows go in parts of 64, as the engine scores them. */
double time_many(many_fn f, const float *query, const float *rows, size_t dim, size_t count, size_t repeats, float *out) {
    double start = now();
    for (size_t turn = 0; turn < repeats; turn++)
        for (size_t row = 0; row < count; row += 64)
            f(out + row, query, rows + row * dim, dim, count - row < 64 ? count - row : 64);
    return (now() - start) / (double)(repeats * count);
}
