/* life.h - how a life ends that met a failure, see life.c. */
#ifndef EVERDUE_LIFE_H
#define EVERDUE_LIFE_H

enum { LIFE_REFUSED = 3, LIFE_FAILED = 4, LIFE_FULL = 5 };

#endif
