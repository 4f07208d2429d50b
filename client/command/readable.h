/* readable.h - bytes of any kind for a terminal: as they are where they are printable, else in
 * base64 and marked so. Nothing that somebody stored can move a cursor or change a colour. */
#ifndef EVERDUE_READABLE_H
#define EVERDUE_READABLE_H

#include "everdue/types.h"
#include "text.h"

void readable_add(struct text *text, struct everdue_bytes bytes);

#endif
