/* preload.c - loaded into a broker by a test (LD_PRELOAD): makes the thread that decides who may
 * come in fail when it is about to say yes (EVERDUE_TEST_ZAP), writes down the numbers that srand
 * was given before the first socket (EVERDUE_TEST_SEEDS names the file), and lets the disk stand
 * still while there is a file (EVERDUE_TEST_STILL names it): no fdatasync ends before it is gone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int zmq_send(void *socket, const void *data, size_t count, int flags);
void *zmq_socket(void *context, int type);

static int sockets;

int zmq_send(void *socket, const void *data, size_t count, int flags)
{
    char name[16] = "";
    int (*real)(void *, const void *, size_t, int) =
        (int (*)(void *, const void *, size_t, int))dlsym(RTLD_NEXT, "zmq_send");
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (getenv("EVERDUE_TEST_ZAP") && strcmp(name, "zap") == 0 && count == 3 &&
        memcmp(data, "200", 3) == 0) {
        errno = EIO;
        return -1;
    }
    return real(socket, data, count, flags);
}

void *zmq_socket(void *context, int type)
{
    sockets++;
    return ((void *(*)(void *, int))dlsym(RTLD_NEXT, "zmq_socket"))(context, type);
}

void srand(unsigned seed)
{
    const char *path = getenv("EVERDUE_TEST_SEEDS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%u %d\n", seed, sockets);
        fclose(file);
    }
    ((void (*)(unsigned))dlsym(RTLD_NEXT, "srand"))(seed);
}

int fdatasync(int fd)
{
    const char *path = getenv("EVERDUE_TEST_STILL");
    struct timespec pause = {.tv_nsec = 1000000};
    while (path && access(path, F_OK) == 0)
        nanosleep(&pause, NULL);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
