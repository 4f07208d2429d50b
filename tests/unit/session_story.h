/* session_story.h - tests of the worker's session as timed stories: what is heard, done and said.
 *
 *   struct story story;
 *   story_begin(&story);
 *   story_says(&story, "hello resume=0");
 *   story_hears_welcome(&story, 'A');
 *   story_hears_tasks(&story, "17 18");
 *   story_runs(&story, 17);
 *   story_reports(&story, 17);
 *   story_says(&story, "report 17");
 *   story_hears_answer(&story, "ok");
 *
 * Time stands still but for story_at. The key of lease 17 is "key-17", its state number 1,017.
 */
#ifndef EVERDUE_TESTS_SESSION_STORY_H
#define EVERDUE_TESTS_SESSION_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

enum { STORY_LEASES_MAX = 64, STORY_REQUESTS_MAX = 64, STORY_SAID_BYTES = 1024 };

struct story {
    struct session *session;
    struct moment now;
    struct lease *leases[STORY_LEASES_MAX]; /* delivered and not sent back, by lease number */
    uint64_t requests[STORY_REQUESTS_MAX];  /* ids that were said and not answered, oldest first */
    uint32_t request_count;
    uint64_t hello_id;
    uint32_t delivered; /* since story_begin */
};

/* A worker with credit 64, lease 60 s, heartbeat 5 s, timeout 10 min; its link is open, time is 0.
 */
void story_begin(struct story *story);
void story_end(struct story *story);
/* With a credit that follows the pace of the handlers. */
void story_begin_with_credit(struct story *story, uint32_t credit, uint32_t credit_most);
/* story_begin up to the answered hello; the store is 'A'. */
void story_begin_live(struct story *story);

/* Time has become this many milliseconds since the beginning. */
void story_at(struct story *story, int64_t ms);

/* All that it wants to send now, in words, separated by "; ": "" when it is silent. */
void story_says(struct story *story, const char *expected);

void story_hears(struct story *story, const struct wire_buffer *frame);
void story_hears_welcome(struct story *story, char store);
/* With another length of leases and heartbeats. */
void story_hears_welcome_with(struct story *story, char store, uint32_t lease_ms,
                              uint32_t heartbeat_ms);
void story_hears_tasks(struct story *story, const char *leases);
void story_hears_cancel(struct story *story, const char *leases);
/* The oldest unanswered request gets these item statuses by name. */
void story_hears_answer(struct story *story, const char *statuses);
/* The oldest unanswered request, or the hello, is answered as a whole. */
void story_hears_whole_answer(struct story *story, enum status status);
void story_hears_hello_refused(struct story *story, enum status status);
void story_hears_error(struct story *story, enum status status);
void story_hears_bye(struct story *story);
void story_hears_ping(struct story *story, uint64_t id);
void story_hears_pong(struct story *story);

/* The caller. `runs` fails when the lease was revoked. */
bool story_runs(struct story *story, uint64_t lease);
void story_reports(struct story *story, uint64_t lease);
void story_gives_back(struct story *story, uint64_t lease, bool begun);
void story_skips(struct story *story, uint64_t lease);
bool story_is_cancelled(struct story *story, uint64_t lease);
void story_link_breaks(struct story *story);
/* The link is opened again as wished; fails the test when it is not wished. */
void story_reopens(struct story *story);
bool story_wants_reopen(struct story *story);

#endif
