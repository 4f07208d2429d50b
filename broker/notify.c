#include "notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "moment.h"
#include "quantity.h"

/* Half of the time after which we would be given up; 0 when that is not for us. */
static int64_t read_every(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t limit_us = 0, of = 0;
    if (!us || number_parse(us, strlen(us), 1, TIME_US_END - 1, &limit_us))
        return 0;
    if (pid && (number_parse(pid, strlen(pid), 1, INT32_MAX, &of) || of != getpid()))
        return 0;
    return limit_us / 2;
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t count = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || count >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, count);
    if (path[0] == '@') /* an abstract name */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size)) {
        close(fd);
        return -1;
    }
    return fd;
}

void notify_open(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    notify->fd = path ? open_socket(path) : -1;
    notify->every_us = notify->fd >= 0 ? read_every() : 0;
    notify->next_mono_us = 0;
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void notify_say(const struct notify *notify, const char *what)
{
    if (notify->fd >= 0)
        send(notify->fd, what, strlen(what), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_turn(struct notify *notify, int64_t mono_us)
{
    if (!notify->every_us || mono_us < notify->next_mono_us)
        return;
    notify_say(notify, "WATCHDOG=1");
    notify->next_mono_us = mono_us + notify->every_us;
}

int64_t notify_next_mono_us(const struct notify *notify)
{
    return notify->every_us ? notify->next_mono_us : TIME_US_NEVER;
}
