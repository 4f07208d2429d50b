/* oracle_keys.c - the life of a real broker, see record_broker.py: each key is as after one of its
 * changes, from the last that was acknowledged to the last that was sent.
 *
 * With --sync interval what was acknowledged may be lost, but only since the last commit but one
 * was complete: what was acknowledged before is in the next. How old the oldest loss is comes back
 * as the trial's number, in microseconds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "sched.h"
#include "store.h"
#include "test_store_help.h"

enum { KEYS_MAX = 128, VERSIONS_MAX = 4096, KEY_BYTES = 16 };

struct key {
    char text[KEY_BYTES];
    uint32_t sent;
    uint32_t acked;
    uint32_t promised;     /* as acked, or (interval) when the last commit but one was complete */
    uint32_t acked_at_end; /* when the last commit was complete */
    char kinds[VERSIONS_MAX]; /* by version: 'p'ut, 'r'eport, 'd'elete */
    int64_t acked_mono_us[VERSIONS_MAX];
};

struct keys {
    bool is_interval;
    size_t count;
    int64_t now_mono_us;
    struct key list[KEYS_MAX];
};

static bool record(const struct oracle_life *life)
{
    char seed[32];
    snprintf(seed, sizeof(seed), "%" PRIu64, life->seed);
    char *const arguments[] = {"/usr/bin/python3",
                               "-B",
                               RECORD_BROKER,
                               PROGRAMS,
                               RECORDER,
                               (char *)(uintptr_t)life->directory,
                               (char *)(uintptr_t)life->log,
                               (char *)(uintptr_t)life->sync,
                               seed,
                               NULL};
    return oracle_run(life, false, arguments);
}

/* --- the promise ----------------------------------------------------------------------------- */

static void *begin(const struct oracle_life *life)
{
    struct keys *keys = calloc(1, sizeof(*keys));
    if (keys)
        keys->is_interval = strncmp(life->sync, "interval", 8) == 0;
    return keys;
}

static struct key *find(struct keys *keys, const char *text)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->list[i].text, text) == 0)
            return &keys->list[i];
    }
    if (keys->count == KEYS_MAX)
        return NULL;
    struct key *key = &keys->list[keys->count++];
    snprintf(key->text, sizeof(key->text), "%s", text);
    return key;
}

static void take_mark(void *self, const char *text)
{
    struct keys *keys = self;
    char name[KEY_BYTES];
    char kind[8];
    uint32_t version = 0;
    bool is_sent = sscanf(text, "sent %15s %" SCNu32 " %7s", name, &version, kind) == 3;
    bool is_acked = !is_sent && sscanf(text, "acked %15s %" SCNu32, name, &version) == 2;
    struct key *key = is_sent || is_acked ? find(keys, name) : NULL;
    if (!key || version >= VERSIONS_MAX)
        return;
    if (is_sent) {
        key->sent = version;
        key->kinds[version] = strcmp(kind, "remove") == 0 ? 'd' : kind[0];
    } else {
        key->acked = version;
        key->acked_mono_us[version] = keys->now_mono_us;
        if (!keys->is_interval)
            key->promised = version;
    }
}

/* A commit is complete with the write of the header, to an O_DSYNC descriptor. */
static void take_entry(void *self, const struct record_entry *entry)
{
    struct keys *keys = self;
    keys->now_mono_us = entry->mono_us;
    if (entry->kind != RECORD_SYNC_RANGE || !keys->is_interval)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        struct key *key = &keys->list[i];
        key->promised = key->acked_at_end;
        key->acked_at_end = key->acked;
    }
}

static uint64_t promise_number(const void *self)
{
    const struct keys *keys = self;
    uint64_t sum = 0;
    for (size_t i = 0; i < keys->count; i++)
        sum += keys->list[i].promised;
    return sum;
}

/* --- looking --------------------------------------------------------------------------------- */

/* What a key holds: the versions of its payload and memo, 0: none. */
struct held {
    bool is_there;
    uint64_t payload;
    uint64_t memo;
};

static enum status visit_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    return sched_load_row(user, row, bytes);
}

static enum status visit_record(const struct store_state *state, const uint8_t *body,
                                uint32_t count, void *user)
{
    return sched_load_record(user, state, body, count);
}

static uint64_t version_of(struct bytes bytes)
{
    char text[24] = "";
    if (bytes.count && bytes.count < sizeof(text))
        memcpy(text, bytes.data, bytes.count);
    return strtoull(text, NULL, 10);
}

static struct held held_by(const struct sched *sched, const struct key *key)
{
    struct record_view view;
    if (sched_view_record(sched, bytes_of("q"), bytes_of(key->text), &view))
        return (struct held){0};
    return (struct held){true, version_of(view.payload), version_of(view.memo)};
}

/* What the key holds when its changes up to `version` were made. */
static struct held after(const struct key *key, uint32_t version)
{
    struct held held = {0};
    for (uint32_t i = 1; i <= version; i++) {
        if (key->kinds[i] == 'd') {
            held = (struct held){0};
        } else if (key->kinds[i] == 'p') {
            held.is_there = true;
            held.payload = i;
        } else if (key->kinds[i] == 'r') {
            held.memo = i;
        }
    }
    return held;
}

static bool is_like(const struct held *one, const struct held *other)
{
    return one->is_there == other->is_there &&
           (!one->is_there || (one->payload == other->payload && one->memo == other->memo));
}

/* Which of the versions it is, the latest that fits; false: none of them. */
static bool version_held(const struct key *key, const struct held *held, uint32_t *version)
{
    for (*version = key->sent;; (*version)--) {
        struct held expected = after(key, *version);
        if (is_like(held, &expected))
            return true;
        if (*version == 0)
            return false;
    }
}

static enum trial_outcome judge(struct trial *trial, const struct keys *keys,
                                const struct sched *sched)
{
    struct sched_numbers numbers;
    uint64_t records = 0;
    int64_t oldest_us = keys->now_mono_us;
    for (size_t i = 0; i < keys->count; i++) {
        const struct key *key = &keys->list[i];
        struct held held = held_by(sched, key);
        uint32_t version = 0;
        records += held.is_there;
        if (!version_held(key, &held, &version)) {
            snprintf(trial->why, sizeof(trial->why), "key %s holds what was never there",
                     key->text);
            return TRIAL_WRONG;
        }
        if (version < key->promised) {
            snprintf(trial->why, sizeof(trial->why),
                     "key %s: version %" PRIu32 " was promised, %" PRIu32 " is there", key->text,
                     key->promised, version);
            return TRIAL_LOST;
        }
        if (version < key->acked && key->acked_mono_us[version + 1] < oldest_us)
            oldest_us = key->acked_mono_us[version + 1];
    }
    trial->number = (uint64_t)(keys->now_mono_us - oldest_us);
    sched_get_numbers(sched, (struct bytes){0}, (struct moment){1, 1}, &numbers);
    snprintf(trial->why, sizeof(trial->why), "keys that nobody sent");
    return numbers.records == records ? TRIAL_SAME : TRIAL_WRONG;
}

/* As the broker does at its start. */
static enum trial_outcome load_and_judge(struct trial *trial, const struct keys *keys,
                                         struct store *store, struct sched *sched)
{
    struct store_visitor visitor = {visit_row, visit_record, sched};
    const char *what = NULL;
    enum status status = store_load(store, &visitor);
    if (!status)
        status = sched_load_end(sched, (struct moment){1, 1});
    snprintf(trial->why, sizeof(trial->why), "%s: %s", status_name(status), store_why(store));
    if (status)
        return TRIAL_REFUSED;
    if (!sched_check(sched, &what)) {
        snprintf(trial->why, sizeof(trial->why), "the core: %s", what);
        return TRIAL_WRONG;
    }
    return judge(trial, keys, sched);
}

static enum trial_outcome look(struct trial *trial, void *user)
{
    char path[1024];
    struct sched_settings settings;
    struct store *store = NULL;
    snprintf(path, sizeof(path), "%s/store", trial->directory);
    struct store_options options = help_options(path);
    options.sync = STORE_SYNC_NEVER; /* this process is not cut off */
    sched_settings_init(&settings);
    struct sched *sched = sched_new(&settings);
    if (!sched)
        return TRIAL_CRASHED;
    if (store_open_lmdb(&store, &options, trial->why, STORE_WHY_BYTES))
        return trial->why[0] ? TRIAL_REFUSED : TRIAL_CRASHED;
    trial->number = 0;
    enum trial_outcome outcome = load_and_judge(trial, user, store, sched);
    store_destroy(&store);
    sched_destroy(&sched);
    return outcome;
}

const struct oracle oracle_keys = {
    .name = "broker",
    .record = record,
    .begin = begin,
    .end = free,
    .take_mark = take_mark,
    .take_entry = take_entry,
    .promise = promise_number,
    .look = look,
};
