#include "nearest.h"

#include <string.h>

enum { WORD_MAX = 32 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits between two words of at most WORD_MAX letters; two swapped neighbours are one edit. */
static unsigned edits(const char *a, size_t a_count, const char *b, size_t b_count)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *two_before = rows[0], *before = rows[1], *row = rows[2];
    for (unsigned j = 0; j <= b_count; j++)
        before[j] = two_before[j] = j;
    for (size_t i = 1; i <= a_count; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_count; j++) {
            unsigned change = before[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(change, least(before[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_before[j - 2] + 1);
        }
        unsigned *oldest = two_before;
        two_before = before;
        before = row;
        row = oldest;
    }
    return before[b_count];
}

static const char *only_continuation(const char *word, size_t word_count, const char *const *names,
                                     size_t count)
{
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], word, word_count) != 0)
            continue;
        if (found)
            return NULL;
        found = names[i];
    }
    return found;
}

const char *nearest_name(const char *word, size_t word_count, const char *const *names,
                         size_t count)
{
    const char *nearest = NULL;
    unsigned nearest_edits = 2 * WORD_MAX;
    if (word_count < 2 || word_count > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_count = strlen(names[i]);
        if (name_count > WORD_MAX)
            continue;
        /* Of two as near, the one of the same length: letters are swapped more often than lost. */
        unsigned now =
            2 * edits(word, word_count, names[i], name_count) + (name_count != word_count);
        if (now < nearest_edits) {
            nearest = names[i];
            nearest_edits = now;
        }
    }
    if (nearest && nearest_edits / 2 <= (word_count + 2) / 3)
        return nearest;
    return only_continuation(word, word_count, names, count);
}
