/* notify.h - tells a service manager (systemd's sd_notify protocol: a datagram to $NOTIFY_SOCKET)
 * that we are ready, that we live, and that we stop. Without one all of it does nothing.
 *
 * The sign of life comes from the broker's turn, so that a turn that hangs is noticed. Written here
 * and not taken from libsystemd: it is one datagram, and that library brings others along.
 */
#ifndef EVERDUE_NOTIFY_H
#define EVERDUE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
    int fd;           /* -1: nobody wants to know */
    int64_t every_us; /* between two signs of life; 0: none are wanted */
    int64_t next_mono_us;
};

/* Reads the environment. */
void notify_open(struct notify *notify);
void notify_close(struct notify *notify);

/* "READY=1", "STOPPING=1". */
void notify_say(const struct notify *notify, const char *what);

/* A sign of life, when it is time for one. */
void notify_turn(struct notify *notify, int64_t mono_us);
int64_t notify_next_mono_us(const struct notify *notify);

#endif
