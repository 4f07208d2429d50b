#include "server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#include "clock.h"
#include "server_internal.h"

/* --- the clocks ------------------------------------------------------------------------------- */

/* Whoever looks for the reason why records are late, or early, finds it in the log and in stats. */
static void say_step(struct server *server)
{
    const struct wall *wall = &server->wall;
    server->clock_step_us = wall->step_us;
    server->clock_step_mono_us = server->now.mono_us;
    log_line(LOG_WARNING,
             wall->held_us ? "the wall clock was set forward: it counts in 10 s, unless it is "
                             "put right before"
             : wall->step_us < 0
                 ? "the wall clock was set back: what is due comes that much later"
                 : "the wall clock was set forward: what is due comes that much sooner",
             "step_ms", log_i64(wall->step_us / US_PER_MS), NULL);
}

static void look_at_clocks(struct server *server)
{
    server->now = wall_tell(&server->wall, clock_now());
    if (server->wall.step_us)
        say_step(server);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* A timerfd that fires at `at_us` of its clock; 0: at once; TIME_US_NEVER: not at all. One that
 * fires sooner is left as it is: most of what is waited for moves away while it is waited for, and
 * a turn for nothing costs less than to set a timer in each. */
static void arm(struct timer *timer, int flags, int64_t at_us)
{
    if (at_us >= timer->armed_us)
        return;
    struct itimerspec when = {.it_value = {.tv_sec = at_us / US_PER_S,
                                           .tv_nsec = at_us <= 0 ? 1 : at_us % US_PER_S * 1000}};
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME | flags, &when, NULL);
    timer->armed_us = at_us;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_mono_us(const struct server *server)
{
    int64_t next = least(sched_next_mono_us(server->sched), storage_next_mono_us(server));
    next = least(next, guard_next_mono_us(server));
    next = least(next, server->quiet_end_mono_us);
    next = least(next, wall_end_mono_us(&server->wall));
    next = least(next, notify_next_mono_us(&server->notify));
    if (server->is_stopping)
        next = least(next, server->stop_mono_us);
    if (server->is_disk_short || server->workers.held.count)
        next = least(next, server->next_space_mono_us);
    return next;
}

/* It fired, or the wall clock was set: then what is due is looked at anew. */
static void disarm(struct timer *timer)
{
    uint64_t count;
    while (read(timer->fd, &count, sizeof(count)) > 0) /* ends: it holds one number */
        continue;
    timer->armed_us = TIME_US_NEVER;
}

static void on_signal(struct server *server);

enum { FINISH_MS = 5000, FINISH_SAID_MS = 1000 };
enum {
    POLL_ROUTER,
    POLL_MONITOR,
    POLL_SIGNALS,
    POLL_WALL,
    POLL_MONO,
    POLL_BACKUP,
    POLL_ZAP,
    POLL_GUARD,
    POLL_STORE
};

/* When what comes due next wants a turn. With a hundred thousand of them a second each would have
 * one of its own: turns that have no other cause keep a distance, so that what comes due meanwhile
 * leaves in one message. After a pause nothing waits. While nobody has credit it can wait for the
 * message that brings some. */
static int64_t next_wall_us(const struct server *server)
{
    int64_t due_us = sched_next_wall_us(server->sched);
    int64_t most_us = sched_is_saturated(server->sched) ? DUE_GAP_SATURATED_US : DUE_GAP_US;
    int64_t gap_us = server->turn_began_mono_us + most_us - server->now.mono_us;
    int64_t least_us = server->now.wall_us + (gap_us > 0 ? gap_us : 0);
    return due_us > least_us ? due_us : least_us;
}

/* To be woken takes a processor that idled, and knows nothing any more, about as long as the turn
 * that follows. So after a pause the timer fires a little ahead, and the rest is waited out awake;
 * not when there is nobody to hand out to. */
static int64_t wake_us(struct server *server, int64_t wall_us)
{
    bool is_ahead = wall_us != TIME_US_NEVER &&
                    wall_us - server->now.wall_us >= DUE_AHEAD_PAUSE_US &&
                    !sched_is_saturated(server->sched);
    server->awaited_us = is_ahead ? wall_us : 0;
    return is_ahead ? wall_us - DUE_AHEAD_US : wall_us;
}

static int wait_ms(struct server *server, bool is_busy)
{
    int64_t mono_us = next_mono_us(server);
    int64_t wall_us = next_wall_us(server);
    is_busy |= mono_us <= server->now.mono_us || wall_us <= server->now.wall_us;
    is_busy |= socket_has_input(server);
    server->planned_mono_us = is_busy ? server->now.mono_us : mono_us;
    if (is_busy)
        return 0;
    wall_us = wake_us(server, wall_us);
    arm(&server->wall_timer, TFD_TIMER_CANCEL_ON_SET, wall_timer_us(&server->wall, wall_us));
    arm(&server->mono_timer, 0, mono_us);
    bool has_to_look = server->workers.suspect_count || server->workers.overflows.count;
    return has_to_look ? 1 : -1;
}

/* Returns once there is input, something is due, or `is_busy` (then at once); whether it is the
 * timer that fires ahead, and nothing else. */
static bool wait_for_something(struct server *server, bool is_busy)
{
    struct pollfd fds[] = {
        [POLL_ROUTER] = {.fd = server->router_fd, .events = POLLIN},
        [POLL_MONITOR] = {.fd = server->monitor_fd, .events = POLLIN},
        [POLL_SIGNALS] = {.fd = server->signals, .events = POLLIN},
        [POLL_WALL] = {.fd = server->wall_timer.fd, .events = POLLIN},
        [POLL_MONO] = {.fd = server->mono_timer.fd, .events = POLLIN},
        [POLL_BACKUP] = {.fd = server->backup.done_fd, .events = POLLIN},
        [POLL_ZAP] = {.fd = server->zap ? zap_fd(server->zap) : -1, .events = POLLIN},
        [POLL_GUARD] = {.fd = guard_fd(server), .events = POLLIN},
        [POLL_STORE] = {.fd = store_fd(server->store), .events = POLLIN}, /* -1: passed over */
    };
    int count = poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms(server, is_busy));
    if (count < 0)
        return false;
    look_at_clocks(server); /* the wait may have been long, and what follows counts from here */
    if (fds[POLL_WALL].revents)
        disarm(&server->wall_timer);
    if (fds[POLL_MONO].revents)
        disarm(&server->mono_timer);
    if (fds[POLL_MONITOR].revents || server->monitor_has_more)
        socket_read_monitor(server);
    if (fds[POLL_GUARD].revents)
        guard_stir(server);
    if (fds[POLL_SIGNALS].revents)
        on_signal(server);
    if (server->zap && fds[POLL_ZAP].revents) {
        log_line(LOG_ERR, "the handler that decides who may come in has ended", NULL);
        server_fail(server, EX_SOFTWARE);
    }
    return server->awaited_us && fds[POLL_WALL].revents && count == 1;
}

/* --- signals ---------------------------------------------------------------------------------- */

static void begin_stop(struct server *server)
{
    struct event event = {
        .kind = EVENT_DRAIN, .now = server->now, .session = SLAB_NONE, .wait_us = TIME_US_END - 1};
    if (server->is_stopping) { /* a second time: at once */
        server->has_stopped = true;
        return;
    }
    log_line(LOG_NOTICE, "stopping: nothing more is handed out, reports are waited for", NULL);
    server->is_stopping = true;
    notify_say(&server->notify, "STOPPING=1");
    server->stop_mono_us = server->now.mono_us + server->options->stop_us;
    server_step(server, &event);
}

static void apply_settings(struct server *server)
{
    struct sched_settings settings = server->options->sched;
    if (server->configure && server->configure(&settings, server->sched, server->configure_user))
        sched_set_settings(server->sched, &settings);
    access_reload(server);
}

static void on_signal(struct server *server)
{
    struct signalfd_siginfo info;
    while (read(server->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            apply_settings(server);
        else
            begin_stop(server);
    }
}

static void say_bye(struct server *server)
{
    uint32_t number = workers_next(&server->workers, 0);
    for (; number != SLAB_NONE; number = workers_next(&server->workers, number + 1)) {
        wire_buffer_clear(&server->out);
        message_write_head(&server->out, MESSAGE_BYE, 1);
        wire_write_str(&server->out, bytes_of("the broker stops"));
        socket_send(server, number, server->out.data, server->out.count);
    }
}

/* --- the turn --------------------------------------------------------------------------------- */

static void on_backup(struct server *server)
{
    struct backup *backup = &server->backup;
    uint64_t count;
    if (!backup->is_running || read(backup->done_fd, &count, sizeof(count)) != sizeof(count))
        return;
    backup_end(backup);
    wire_buffer_clear(&server->out);
    answer_write(&server->out, backup->request, backup->status,
                 bytes_of(backup->why[0] ? backup->why : NULL));
    struct bytes identity = {backup->identity, backup->identity_bytes};
    socket_send_to(server, identity, server->out.data, server->out.count);
    uint64_t held_back;
    if (backup->status && !log_limit_allows(&server->backup_limit, server->now.mono_us, &held_back))
        return;
    log_line(backup->status ? LOG_ERR : LOG_NOTICE,
             backup->status ? "the backup failed" : "a backup was made", "directory",
             backup->directory, "why", backup->why[0] ? backup->why : NULL, NULL);
}

static void step_kind(struct server *server, enum event_kind kind)
{
    struct event event = {.kind = kind, .now = server->now};
    if (kind == EVENT_WORK)
        event.budget = WORK_BUDGET;
    if (kind == EVENT_TIME && server->planned_mono_us != TIME_US_NEVER)
        event.stalled_us = server->now.mono_us - server->planned_mono_us;
    server_step(server, &event);
}

static bool has_work(const struct server *server)
{
    return sched_has_work(server->sched) && !server->is_disk_short && !server->is_safe;
}

static void do_work(struct server *server)
{
    int64_t end_us = server->now.mono_us + WORK_US_MAX;
    while (has_work(server)) {
        step_kind(server, EVENT_WORK);
        if (clock_now().mono_us >= end_us)
            return;
    }
}

/* One look at the thread's clock a turn, so that its CPU time has the wait before it, too. */
static void count_turn(struct server_counts *counts, int64_t turn_us, int64_t cpu_us)
{
    int64_t turn_cpu_us = cpu_us - counts->cpu_us;
    counts->turns++;
    counts->busy_us += turn_us;
    if (turn_us > counts->turn_us_max)
        counts->turn_us_max = turn_us;
    if (turn_cpu_us > counts->turn_cpu_us_max)
        counts->turn_cpu_us_max = turn_cpu_us;
    counts->cpu_us = cpu_us;
}

static void grant(struct server *server)
{
    if (!server->is_store_full)
        step_kind(server, EVENT_GRANT);
}

/* Who waits for work gets it before the answer to what it reported, so that both travel together.
 * What the store has made durable may be handed out, too. Returns whether there is more to do at
 * once. */
static bool turn(struct server *server)
{
    look_at_clocks(server);
    server->turn_began_mono_us = server->now.mono_us;
    socket_flush(server);
    hold_turn(server);
    bool may_have_more = socket_read(server);
    socket_probe(server);
    guard_turn(server);
    notify_turn(&server->notify, server->now.mono_us);
    on_backup(server);
    step_kind(server, EVENT_TIME);
    do_work(server);
    grant(server);
    storage_turn(server);
    grant(server);
    rest_turn(server);
    look_at_clocks(server);
    count_turn(&server->counts, server->now.mono_us - server->turn_began_mono_us,
               clock_thread_us());
    return may_have_more || has_work(server) || hold_has_work(server);
}

/* A turn for nothing, so that what the next one needs is at hand; then a look at the clock after
 * the other until it is time. */
static void wait_out(struct server *server)
{
    turn(server);
    for (int i = 0; i < DUE_AHEAD_LOOKS_MAX; i++) {
        int64_t left_us = server->awaited_us - server->now.wall_us;
        if (left_us <= 0 || left_us > DUE_AHEAD_US) /* the clock may have been set */
            break;
        look_at_clocks(server);
    }
}

static bool may_stop(struct server *server)
{
    struct sched_numbers numbers;
    if (!server->is_stopping)
        return false;
    if (server->has_stopped || server->now.mono_us >= server->stop_mono_us)
        return true;
    sched_get_numbers(server->sched, (struct bytes){NULL, 0}, server->now, &numbers);
    return numbers.leased == 0;
}

static bool is_all_stored(const struct server *server)
{
    return !server->is_in_flight && !server->batch_has_content && !sched_is_dirty(server->sched);
}

/* What was accepted is on disk before the process ends, and is acknowledged: also to those for whom
 * there is no room at once, if they read. */
static void finish(struct server *server)
{
    int said_ms = 0;
    for (int i = 0; i < FINISH_MS && !server->exit_code; i++) {
        look_at_clocks(server);
        server->next_submit_mono_us = 0;
        server->is_awaited = true;
        storage_turn(server);
        socket_flush(server);
        if (is_all_stored(server) &&
            (!server->workers.overflows.count || said_ms++ == FINISH_SAID_MS))
            break;
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL); /* the store's thread is at work; nobody else is served any more */
    }
    if (!server->exit_code && !is_all_stored(server)) {
        log_line(LOG_ERR, "stopped before all that was accepted was on disk", "directory",
                 server->options->store_directory, "disk_is_full",
                 server->is_store_full ? "true" : NULL, NULL);
        server_fail(server, EX_IOERR);
    }
    say_bye(server);
}

/* --- start and stop --------------------------------------------------------------------------- */

void server_fail(struct server *server, int exit_code)
{
    if (!server->exit_code)
        server->exit_code = exit_code;
}

static bool open_fds(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    /* Before any thread exists, so that all inherit it. */
    if (pthread_sigmask(SIG_BLOCK, &set, NULL))
        return false;
    signal(SIGPIPE, SIG_IGN);
    server->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    server->wall_timer.fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    server->mono_timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    server->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wall_timer.armed_us = server->mono_timer.armed_us = TIME_US_NEVER;
    return server->signals >= 0 && server->wall_timer.fd >= 0 && server->mono_timer.fd >= 0 &&
           server->watch_fd >= 0;
}

static bool open_server(struct server *server)
{
    server->now = server->started = clock_now();
    server->planned_mono_us = TIME_US_NEVER;
    server->quiet_end_mono_us = TIME_US_NEVER;
    wall_init(&server->wall, server->now, CLOCK_STEP_US);
    workers_init(&server->workers);
    pressure_init(&server->pressure);
    effects_init(&server->effects);
    wire_buffer_init(&server->out);
    wire_buffer_init(&server->take_out);
    server->exit_code = 0;
    server->items = malloc(ITEMS_MAX * sizeof(*server->items));
    if (!open_fds(server) || !server->items || !server->sched) {
        log_line(LOG_ERR, "out of memory or file descriptors", NULL);
        server->exit_code = EX_OSERR;
        return false;
    }
    backup_init(&server->backup);
    if (!storage_open(server))
        return false;
    safe_begin(server);
    apply_settings(server);
    return socket_open(server);
}

static void close_server(struct server *server)
{
    socket_close(server);
    backup_release(&server->backup);
    storage_close(server);
    sched_destroy(&server->sched);
    effects_release(&server->effects);
    wire_buffer_release(&server->out);
    wire_buffer_release(&server->take_out);
    workers_release(&server->workers);
    free(server->tallies);
    free(server->items);
    close(server->signals);
    close(server->wall_timer.fd);
    close(server->mono_timer.fd);
    close(server->watch_fd);
}

static void log_start(struct server *server)
{
    struct sched_numbers numbers;
    sched_get_numbers(server->sched, (struct bytes){NULL, 0}, server->now, &numbers);
    int64_t took_us = clock_now().mono_us - server->started.mono_us;
    log_line(LOG_NOTICE, "ready", "records", log_u64(numbers.records), "store",
             server->store->backend->name, "directory", server->options->store_directory, "load_ms",
             log_i64(took_us / US_PER_MS), NULL);
}

int server_run(const struct server_options *options, server_configure *configure, void *user)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return EX_OSERR;
    server->options = options;
    server->configure = configure;
    server->configure_user = user;
    server->backup.done_fd = -1;
    server->sched = sched_new(&options->sched);
    notify_open(&server->notify);
    if (open_server(server)) {
        log_start(server);
        notify_say(&server->notify, "READY=1");
        server->counts.cpu_us = clock_thread_us();
        bool is_busy = true;
        while (!server->exit_code && !may_stop(server)) { /* until a signal or a fatal error */
            if (wait_for_something(server, is_busy))
                wait_out(server);
            is_busy = turn(server);
        }
        finish(server);
    }
    int exit_code = server->exit_code;
    close_server(server);
    notify_close(&server->notify);
    free(server);
    log_line(exit_code ? LOG_ERR : LOG_NOTICE, "stopped", "exit", log_i64(exit_code), NULL);
    return exit_code;
}
