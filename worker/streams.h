/* streams.h - our ends of the pipes to a child process: its standard input, output and error.
 *
 * Ours do not block; theirs do, as a program expects. All are closed on exec.
 */
#ifndef EVERDUE_WORKER_STREAMS_H
#define EVERDUE_WORKER_STREAMS_H

enum { STREAMS_COUNT = 3 };

/* Numbered as the child sees them: 0 is its input, 1 its output, 2 its errors. */
struct streams {
    int ours[STREAMS_COUNT];   /* -1: closed */
    int theirs[STREAMS_COUNT]; /* between opening and the start of the child only; else -1 */
};

/* All closed. */
void streams_init(struct streams *streams);

/* Make the pipe of one stream. Returns 0, or an errno; what is open then is closed by
 * streams_close_all. */
int streams_open(struct streams *streams, int stream);

/* Close our end of one stream, if it is open. */
void streams_close(struct streams *streams, int stream);

/* Close the child's ends: it has them now, or was not started. */
void streams_close_theirs(struct streams *streams);

/* Close whatever is open. */
void streams_close_all(struct streams *streams);

#endif
