#include "handler.h"

#include "log.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

struct plugin {
    struct handler *handler;
    void *library;
    everdue_handler *handle;
    everdue_batch_handler *handle_batch;
    int (*open)(int argc, char **argv, void **user);
    void (*close)(void *user);
    void *user;
    int stop_fd; /* readable once the watcher has seen a signal */
    pthread_t watcher;
};

/* --- signals ---------------------------------------------------------------------------------- */

/* The handler's own thread cannot be interrupted, and its library may be anything: what has not
 * ended by now ends with the process. Its session ends with it, so the broker takes the leases
 * back. */
_Noreturn static void end_process(void)
{
    log_line(LOG_WARNING, "a run has not finished in time; its lease is lost", NULL);
    _exit(EX_TEMPFAIL);
}

/* A plugin works in the main thread for as long as it likes, so another one looks after signals. */
static void *watch_signals(void *argument)
{
    struct plugin *plugin = argument;
    const struct options *options = plugin->handler->options;
    const struct timespec limit = {
        .tv_sec = options->stop_timeout_ms / 1000,
        .tv_nsec = (long)(options->stop_timeout_ms % 1000) * 1000000,
    };
    uint64_t one = 1;
    sigset_t signals;
    int number;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    if (sigwait(&signals, &number))
        return NULL;
    plugin->handler->stop_asked = true;
    for (size_t i = 0; i < plugin->handler->worker_count; i++)
        everdue_worker_stop(plugin->handler->workers[i], "asked to stop");
    if (write(plugin->stop_fd, &one, sizeof one) != (ssize_t)sizeof one)
        end_process();
    /* Until the deadline, a second signal, or pthread_cancel. */
    while (sigtimedwait(&signals, NULL, &limit) < 0 && errno == EINTR)
        continue;
    end_process();
}

static bool start_watcher(struct plugin *plugin)
{
    plugin->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (plugin->stop_fd < 0)
        return false;
    if (!handler_watch(plugin->handler, plugin->stop_fd, EPOLLIN, HANDLER_EVENT_OWN))
        return false;
    /* From here on the watcher takes SIGTERM. */
    close(plugin->handler->signal_fd);
    plugin->handler->signal_fd = -1;
    return pthread_create(&plugin->watcher, NULL, watch_signals, plugin) == 0;
}

/* --- loading ---------------------------------------------------------------------------------- */

static void *find_symbol(struct plugin *plugin, const char *name)
{
    return dlsym(plugin->library, name);
}

static bool load(struct plugin *plugin, const char *file)
{
    char path[4096];

    /* Without a slash dlopen would search the system's folders only. */
    snprintf(path, sizeof path, "%s%s", strchr(file, '/') ? "" : "./", file);
    plugin->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin->library == NULL) {
        log_line(LOG_ERR, "cannot load the plugin", "why", dlerror(), NULL);
        return false;
    }
    /* POSIX wants a data pointer to hold a function; C has no cast for it. */
    *(void **)&plugin->handle = find_symbol(plugin, "everdue_handle");
    *(void **)&plugin->handle_batch = find_symbol(plugin, "everdue_handle_batch");
    *(void **)&plugin->open = find_symbol(plugin, "everdue_plugin_open");
    *(void **)&plugin->close = find_symbol(plugin, "everdue_plugin_close");
    if (plugin->handle || plugin->handle_batch)
        return true;
    log_line(LOG_ERR, "the plugin exports neither everdue_handle nor everdue_handle_batch", "file",
             file, NULL);
    return false;
}

/* Its arguments as those of a main(): the file first, then what stands behind the options. */
static bool open_plugin(struct plugin *plugin)
{
    const struct options *options = plugin->handler->options;
    size_t count = (size_t)options->argument_count + 1;

    if (plugin->open == NULL) {
        if (options->argument_count == 0)
            return true;
        log_line(LOG_ERR, "the plugin takes no arguments: it exports no everdue_plugin_open",
                 "file", options->plugin, NULL);
        return false;
    }
    char **arguments = calloc(count + 1, sizeof *arguments);
    if (arguments == NULL)
        return false;
    arguments[0] = (char *)options->plugin;
    for (size_t i = 1; i < count; i++)
        arguments[i] = options->arguments[i - 1];
    int code = plugin->open((int)count, arguments, &plugin->user);
    free(arguments);
    if (code)
        log_line(LOG_ERR, "the plugin refused to start", "file", options->plugin, "code",
                 log_i64(code), NULL);
    return code == 0;
}

/* --- work ------------------------------------------------------------------------------------- */

static void wait_for_tasks(struct plugin *plugin)
{
    struct epoll_event events[HANDLER_EVENTS_MAX];

    if (handler_wait(plugin->handler, INT64_MAX, events) > 0)
        handler_stop(plugin->handler, "asked to stop");
}

/* A plugin that takes them one by one is given the next when it has done with the one before: what
 * has begun is lost with the process. */
static void run(struct plugin *plugin)
{
    const struct everdue_task *tasks[HANDLER_BATCH_MAX];
    struct everdue_result results[HANDLER_BATCH_MAX];
    struct everdue_worker *worker;
    size_t most = plugin->handle_batch ? HANDLER_BATCH_MAX : 1;

    /* Ends with the first stop: a run in the caller's thread is over when we come here. */
    while (plugin->handler->phase == HANDLER_RUNNING) {
        size_t count = handler_next_batch(plugin->handler, &worker, tasks, most);
        if (count == 0) {
            wait_for_tasks(plugin);
            continue;
        }
        for (size_t i = 0; i < count; i++)
            everdue_result_init(&results[i]);
        if (plugin->handle_batch)
            plugin->handle_batch(tasks, results, count, plugin->user);
        else
            plugin->handle(tasks[0], &results[0], plugin->user);
        handler_report_batch(plugin->handler, worker, tasks, results, count);
    }
}

static int work(struct plugin *plugin)
{
    struct handler *handler = plugin->handler;

    if (!handler_connect(handler))
        return handler->exit_code;
    if (!start_watcher(plugin)) {
        log_line(LOG_ERR, "cannot start the plugin", "why", strerror(errno), NULL);
        return EX_OSERR;
    }
    run(plugin);
    pthread_cancel(plugin->watcher);
    pthread_join(plugin->watcher, NULL);
    return handler->exit_code;
}

int handler_plugin_run(struct handler *handler)
{
    struct plugin plugin = {.handler = handler, .stop_fd = -1};

    if (!load(&plugin, handler->options->plugin) || !open_plugin(&plugin))
        return EX_CONFIG;
    int code = work(&plugin);
    if (plugin.close)
        plugin.close(plugin.user);
    if (plugin.stop_fd >= 0)
        close(plugin.stop_fd);
    /* The library stays loaded: threads of its own may still be in its code. */
    return code;
}
