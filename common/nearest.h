/* nearest.h - what somebody who mistyped a name may have meant. */
#ifndef EVERDUE_NEAREST_H
#define EVERDUE_NEAREST_H

#include <stddef.h>

/* The name nearest to `word`, NULL when none is near: letters missing, too many, wrong or swapped,
 * a third of the word at most; or the only name that begins with the word. Cost: count * length^2.
 */
const char *nearest_name(const char *word, size_t word_count, const char *const *names,
                         size_t count);

#endif
