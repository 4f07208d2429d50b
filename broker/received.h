/* received.h - how many bytes libzmq has taken in, by descriptor.
 *
 * A message is handed on when it is whole; what has come of it until then lies in libzmq's memory,
 * and nothing there tells how much. The kernel counts for TCP, for the sockets of ipc:// it does
 * not. So this module stands in for recv(), the one call by which libzmq reads its connections: the
 * program's own definition goes before the C library's. Where a libzmq does not call it (one that
 * is linked statically, or reads otherwise) all counts stay 0, and only ipc:// goes without a
 * limit.
 *
 * The counts of a descriptor go on when it is used again: compare two of them. Any thread may ask.
 */
#ifndef EVERDUE_RECEIVED_H
#define EVERDUE_RECEIVED_H

#include <stdint.h>

/* 0 for what is no descriptor, and for those above 2^20, the most that Linux gives by default. */
uint64_t received_bytes(int fd);

#endif
