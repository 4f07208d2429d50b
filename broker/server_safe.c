/* Safe mode: after several crashes within a minute whatever might have caused them is kept out, so
 * that an administrator can look, remove and back up. */
#include <errno.h>
#include <string.h>

#include "crashes.h"
#include "server_internal.h"

const char safe_why[] = "the broker is in safe mode: it crashed several times within a minute; see "
                        "its log, then `everdue resume`";

void safe_begin(struct server *server)
{
    const char *directory = server->options->store_directory;
    int number;
    if (!directory)
        return;
    uint32_t count = crashes_count(directory, server->now.wall_us, &number);
    server->is_safe = count >= CRASHES_MOST;
    if (server->is_safe)
        log_line(LOG_ERR,
                 "safe mode: nobody works and nothing is put until `everdue resume`, for the "
                 "broker crashed again and again",
                 "crashes_in_a_minute", log_u64(count), "signal", strsignal(number), NULL);
    if (!crashes_watch(directory))
        log_line(LOG_WARNING, "crashes cannot be marked: there will be no safe mode", "directory",
                 directory, "why", strerror(errno), NULL);
}

void safe_end(struct server *server)
{
    if (server->is_safe)
        log_line(LOG_NOTICE, "safe mode ends", NULL);
    server->is_safe = false;
}

bool safe_refuses(struct server *server, struct request *request)
{
    int type = request->head.type;
    bool changes = type == MESSAGE_PUT || type == MESSAGE_RUN_NOW || type == MESSAGE_KICK ||
                   (type >= MESSAGE_SYNC_BEGIN && type <= MESSAGE_SYNC_COMMIT);
    if (!server->is_safe || !changes)
        return false;
    request->id = wire_read_uint(&request->reader);
    if (input_is_well_read(server, request))
        output_status(server, request, STATUS_DRAINING, safe_why);
    return true;
}
