/* spawn_bench - the bare minimum of a command per record: posix_spawn of `true`, wait, again.
 *
 *   spawn_bench WORKERS SECONDS IN_FLIGHT
 *
 * Each of WORKERS processes keeps IN_FLIGHT children running. Prints one line of JSON.
 */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crew.h"

extern char **environ;

static const char usage[] = "spawn_bench WORKERS SECONDS IN_FLIGHT";

static void start(void)
{
    char *arguments[] = {(char[]){"true"}, NULL};
    pid_t pid;
    if (posix_spawnp(&pid, "true", NULL, NULL, arguments, environ))
        crew_fail("posix_spawn failed");
}

static void work(struct crew_member *member, void *user)
{
    const long *in_flight = user;
    long running = 0;
    int status;
    while (crew_goes_on(member)) {
        for (; running < *in_flight; running++)
            start();
        if (wait(&status) < 0 || status != 0)
            crew_fail("`true` ended with status %d", status);
        running--;
        crew_count(member, 1);
    }
    while (wait(&status) > 0) /* until the last child has ended */
        continue;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        crew_fail("usage: %s", usage);
    long in_flight = crew_number(argv[3], 256, usage);
    return crew_run((int)crew_number(argv[1], CREW_MAX, usage), strtod(argv[2], NULL), work,
                    &in_flight);
}
