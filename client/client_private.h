/* client_private.h - what the files of the client's half of libeverdue share.
 *
 *   client.c    life, errors, one request and its answer
 *   items.c     requests with any number of items, several under way
 *   records.c   put, remove, run-now, kick, get, list, peek
 *   sync.c      full sets
 *   hand.c      take and report
 *   control.c   pause, drain, backup, and the tables of numbers
 */
#ifndef EVERDUE_CLIENT_PRIVATE_H
#define EVERDUE_CLIENT_PRIVATE_H

#include "everdue/client.h"
#include "exchange.h"

enum { CLIENT_ERROR_BYTES = 512 };

struct client_sync {
    bool is_active;
    enum status failure; /* what ended it */
    uint64_t generation;
    everdue_sync_refusal *refused;
    void *user;
    struct flight *chunk; /* being filled; NULL: none */
    size_t chunk_array;   /* offset of its item array */
    uint64_t place;       /* of the next item */
    uint64_t sent;        /* items that went to the broker, the chunk included */
    uint64_t kept_back;   /* items that could not be sent at all */
    uint32_t checksum;
};

struct everdue_client {
    struct exchange *exchange;
    uint32_t timeout_ms;
    bool is_visiting; /* a visitor runs: what it looks at must stay */
    char error[CLIENT_ERROR_BYTES];
    struct client_sync sync;

    /* copies of the options */
    char *endpoint;
    char *name;
    char **queues; /* NULL-terminated */
    uint32_t queue_count;
    char *curve_server_key;
    char *curve_key_file;
};

/* Begin a call: forgets the last error, sets the deadline. BUSY within a visitor or a sync. */
enum status client_begin(struct everdue_client *client, uint64_t extra_ms);

/* Note why a call failed and return the status. Absent text: that of the status. */
enum status client_fail(struct everdue_client *client, enum status status, struct bytes text);

/* The same for what exchange_wait returned. */
enum status client_fail_exchange(struct everdue_client *client, enum status status);

/* An empty request with type, `fields` behind it, and its id written. */
struct flight *client_request(struct everdue_client *client, enum message_type type,
                              uint32_t fields);

/* Send it, wait for its answer; the body is borrowed until the next call. An answer with an error
 * is noted and returned. */
enum status client_call(struct everdue_client *client, struct flight *flight,
                        struct answer *answer);
/* The same for requests whose answer has no body. */
enum status client_call_plain(struct everdue_client *client, struct flight *flight);

/* MALFORMED, with a text, when the answer's body could not be read. */
enum status client_check_body(struct everdue_client *client, const struct answer *answer);

/* The item statuses of an answer: at most `count` of them are written, what is missing or no status
 * becomes MALFORMED. */
void client_read_statuses(struct answer *answer, int *statuses, size_t count);

/* Writes the item at `place` into a request. OK, or why it cannot be sent: nothing is written then.
 */
typedef enum status client_item_writer(const void *items, size_t place, struct wire_buffer *frame);

struct client_items {
    enum message_type type;
    const char *queue;
    const void *items;
    size_t count;
    client_item_writer *write;
};

/* As many messages as it takes, several at a time. */
enum status client_send_items(struct everdue_client *client, const struct client_items *items,
                              int *statuses);

/* The place of this queue in the options, or -1. */
int client_queue_index(const struct everdue_client *client, const char *queue);

#endif
