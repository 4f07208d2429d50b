#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void close_end(int *end)
{
    if (*end >= 0)
        close(*end);
    *end = -1;
}

void streams_init(struct streams *streams)
{
    *streams = (struct streams){.ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
}

int streams_open(struct streams *streams, int stream)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return errno;
    streams->ours[stream] = ends[stream == 0 ? 1 : 0];
    streams->theirs[stream] = ends[stream == 0 ? 0 : 1];
    return fcntl(streams->ours[stream], F_SETFL, O_NONBLOCK) ? errno : 0;
}

void streams_close(struct streams *streams, int stream)
{
    close_end(&streams->ours[stream]);
}

void streams_close_theirs(struct streams *streams)
{
    for (int i = 0; i < STREAMS_COUNT; i++)
        close_end(&streams->theirs[i]);
}

void streams_close_all(struct streams *streams)
{
    for (int i = 0; i < STREAMS_COUNT; i++)
        streams_close(streams, i);
    streams_close_theirs(streams);
}
