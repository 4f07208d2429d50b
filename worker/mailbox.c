#include "mailbox.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "moment.h"

enum { TOUCHES_MAX = ITEMS_MAX };

bool mailbox_init(struct mailbox *mailbox)
{
    memset(mailbox, 0, sizeof(*mailbox));
    mailbox->agent_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mailbox->caller_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->agent_fd < 0 || mailbox->caller_fd < 0) {
        if (mailbox->agent_fd >= 0)
            close(mailbox->agent_fd);
        if (mailbox->caller_fd >= 0)
            close(mailbox->caller_fd);
        return false;
    }
    atomic_init(&mailbox->payload_bytes_max, PAYLOAD_BYTES_DEFAULT);
    atomic_init(&mailbox->stopping, false);
    pthread_mutex_init(&mailbox->lock, NULL);
    return true;
}

void mailbox_release(struct mailbox *mailbox)
{
    free(mailbox->orders.touches);
    pthread_mutex_destroy(&mailbox->lock);
    close(mailbox->agent_fd);
    close(mailbox->caller_fd);
}

static void lock(struct mailbox *mailbox)
{
    int error = pthread_mutex_lock(&mailbox->lock);
    assert(error == 0);
}

static void unlock(struct mailbox *mailbox)
{
    int error = pthread_mutex_unlock(&mailbox->lock);
    assert(error == 0);
}

/* With the lock held, so that the flag and the descriptor never disagree. */
static void wake(int fd, bool *woken)
{
    if (*woken)
        return;
    *woken = true;
    ssize_t written = write(fd, &(uint64_t){1}, sizeof(uint64_t));
    assert(written == sizeof(uint64_t));
}

static void quiet(int fd, bool *woken)
{
    if (!*woken)
        return;
    *woken = false;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));
    assert(got == sizeof(count));
}

/* --- the caller's side ------------------------------------------------------------------------ */

static void send_leases(struct mailbox *mailbox, struct lease_chain *leases, bool is_urgent)
{
    if (!leases->first)
        return;
    lock(mailbox);
    lease_chain_splice(&mailbox->orders.leases, leases);
    if (is_urgent || !mailbox->agent_looks)
        wake(mailbox->agent_fd, &mailbox->agent_woken);
    unlock(mailbox);
}

void mailbox_send(struct mailbox *mailbox, struct lease_chain *leases)
{
    send_leases(mailbox, leases, true);
}

void mailbox_send_soon(struct mailbox *mailbox, struct lease_chain *leases)
{
    send_leases(mailbox, leases, false);
}

size_t mailbox_put(struct mailbox *mailbox, struct lease_chain *leases)
{
    lock(mailbox);
    lease_chain_splice(&mailbox->orders.leases, leases);
    size_t waiting = mailbox->orders.leases.count;
    unlock(mailbox);
    return waiting;
}

void mailbox_receive(struct mailbox *mailbox, struct lease_chain *leases)
{
    lock(mailbox);
    if (!mailbox->arrived.first)
        quiet(mailbox->caller_fd, &mailbox->caller_woken);
    lease_chain_splice(leases, &mailbox->arrived);
    mailbox->has_news = false;
    unlock(mailbox);
}

bool mailbox_take_news(struct mailbox *mailbox)
{
    lock(mailbox);
    bool has_news = mailbox->has_news;
    mailbox->has_news = false;
    unlock(mailbox);
    return has_news;
}

void mailbox_show(struct mailbox *mailbox)
{
    lock(mailbox);
    if (mailbox->arrived.first || atomic_load(&mailbox->stopping))
        wake(mailbox->caller_fd, &mailbox->caller_woken);
    unlock(mailbox);
}

void mailbox_wake_agent(struct mailbox *mailbox)
{
    lock(mailbox);
    wake(mailbox->agent_fd, &mailbox->agent_woken);
    unlock(mailbox);
}

static bool add_touch(struct mailbox *mailbox, struct touch_order touch)
{
    struct mailbox_orders *orders = &mailbox->orders;
    if (orders->touch_count == TOUCHES_MAX)
        return true; /* touched by the agent in time all the same */
    if (orders->touch_count == mailbox->touch_room) {
        uint32_t room = mailbox->touch_room ? 2 * mailbox->touch_room : 16;
        struct touch_order *touches = realloc(orders->touches, room * sizeof(*touches));
        if (!touches)
            return false;
        orders->touches = touches;
        mailbox->touch_room = room;
    }
    orders->touches[orders->touch_count++] = touch;
    return true;
}

bool mailbox_touch(struct mailbox *mailbox, uint64_t lease, uint32_t lease_ms)
{
    lock(mailbox);
    bool added = add_touch(mailbox, (struct touch_order){lease, lease_ms});
    wake(mailbox->agent_fd, &mailbox->agent_woken);
    unlock(mailbox);
    return added;
}

/* With the lock held. The first stop counts. The caller is woken, for it waits for tasks that do
 * not come any more. */
static void note_stop(struct mailbox *mailbox, enum status status, const char *reason)
{
    if (atomic_load(&mailbox->stopping))
        return;
    mailbox->stop_status = status;
    snprintf(mailbox->stop_reason, sizeof(mailbox->stop_reason), "%s", reason ? reason : "");
    atomic_store(&mailbox->stopping, true);
    mailbox->has_news = true;
    wake(mailbox->caller_fd, &mailbox->caller_woken);
}

void mailbox_stop(struct mailbox *mailbox, enum status status, const char *reason)
{
    lock(mailbox);
    note_stop(mailbox, status, reason);
    mailbox->orders.stop = true;
    wake(mailbox->agent_fd, &mailbox->agent_woken);
    unlock(mailbox);
}

bool mailbox_is_stopping(struct mailbox *mailbox)
{
    return atomic_load(&mailbox->stopping);
}

enum status mailbox_stop_status(struct mailbox *mailbox, const char **reason)
{
    lock(mailbox);
    enum status status = mailbox->stop_status;
    *reason = mailbox->stop_reason; /* written once, before the lock was free again */
    unlock(mailbox);
    return status;
}

void mailbox_leave(struct mailbox *mailbox, uint32_t leave_ms)
{
    lock(mailbox);
    mailbox->orders.leave = true;
    mailbox->orders.leave_ms = leave_ms;
    wake(mailbox->agent_fd, &mailbox->agent_woken);
    unlock(mailbox);
}

void mailbox_counts(struct mailbox *mailbox, struct everdue_worker_counts *counts)
{
    lock(mailbox);
    *counts = mailbox->counts;
    unlock(mailbox);
}

/* --- the agent's side ------------------------------------------------------------------------- */

void mailbox_collect(struct mailbox *mailbox, struct mailbox_orders *orders)
{
    lock(mailbox);
    quiet(mailbox->agent_fd, &mailbox->agent_woken);
    *orders = mailbox->orders;
    mailbox->agent_looks = orders->leases.first != NULL;
    if (orders->stop) {
        orders->stop_status = mailbox->stop_status;
        memcpy(orders->stop_reason, mailbox->stop_reason, sizeof(orders->stop_reason));
    }
    mailbox->orders = (struct mailbox_orders){0};
    mailbox->touch_room = 0;
    unlock(mailbox);
}

void mailbox_deliver(struct mailbox *mailbox, const struct mailbox_news *news)
{
    struct lease_chain arrived = news->arrived;
    atomic_store(&mailbox->payload_bytes_max, news->payload_bytes_max);
    lock(mailbox);
    mailbox->counts = news->counts;
    if (arrived.first) {
        lease_chain_splice(&mailbox->arrived, &arrived);
        mailbox->has_news = true;
        if (!news->caller_looks)
            wake(mailbox->caller_fd, &mailbox->caller_woken);
    }
    if (news->stopping)
        note_stop(mailbox, news->stop_status, news->stop_reason);
    unlock(mailbox);
}
