/* quantity.h - durations, times and sizes as people write them (product.md's formats): one parser
 * for flags, configuration files, JSON and results. All pure; errors are texts for people. */
#ifndef EVERDUE_QUANTITY_H
#define EVERDUE_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Long enough for every text that the formatters here write, terminator included. */
enum { QUANTITY_TEXT_BYTES = 64 };

/* "250ms", "30s", "5m", "1h30m", "2d", "1.5s": units us, ms, s, m, h, d, w, largest first, each
 * once; "0" alone needs none. Returns NULL and sets `*us` (0 to 2^52-1), or a static text that says
 * what is wrong and what to write. A bare number other than 0 is refused with the hint to add a
 * unit. */
const char *duration_parse(const char *text, size_t count, int64_t *us);

/* RFC 3339 ("2026-11-22T15:00:00.000Z", offsets too, "T" or a blank, up to 6 decimals used), or
 * epoch seconds with up to 6 decimals; a number over 1e11 is refused with the hint that it looks
 * like milliseconds. Same results as duration_parse. */
const char *time_parse(const char *text, size_t count, int64_t *us);

/* "64KiB", "1MiB", "10G", "4096": bytes; K, M, G, T are powers of 1,024 with or without "iB"/"B".
 */
const char *size_parse(const char *text, size_t count, uint64_t *bytes);

/* "5%", "0.5%", "20%": millionths. */
const char *share_parse(const char *text, size_t count, uint32_t *ppm);

/* A whole number from `least` to `most`. An error names these; its text is the thread's, until the
 * next one. */
const char *number_parse(const char *text, size_t count, int64_t least, int64_t most,
                         int64_t *number);

/* The shortest exact form: "1h30m", "250ms", "0s". Returns `room`'s text. */
char *duration_format(int64_t us, char text[QUANTITY_TEXT_BYTES]);

/* RFC 3339 in UTC with `decimals` (0 to 6) digits. */
char *time_format(int64_t us, int decimals, char text[QUANTITY_TEXT_BYTES]);

/* "186,412": with thousands separators, for people. */
char *count_format(uint64_t number, char text[QUANTITY_TEXT_BYTES]);

/* "1.5 MiB" */
char *size_format(uint64_t bytes, char text[QUANTITY_TEXT_BYTES]);

/* For people, about three digits: "0.42 ms", "1.3 s", "2 h 5 min". */
char *span_format(int64_t us, char text[QUANTITY_TEXT_BYTES]);

#endif
