/* fake_broker.h - a made-up broker: a thread with a ROUTER that follows a test's script.
 *
 * By itself it answers HELLO with WELCOME, PING with PONG, GOODBYE with ANSWER, and whatever comes
 * from a connection that has not said hello with ERROR no-session. All else goes to the script,
 * which runs in the broker's thread and answers with fake_broker_send. The endpoint is an ipc path
 * of its own in a folder of its own.
 */
#ifndef EVERDUE_TESTS_FAKE_BROKER_H
#define EVERDUE_TESTS_FAKE_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

struct fake_broker;

/* A message: `reader` stands behind version and type. */
typedef void fake_broker_script(struct fake_broker *broker, const struct message_head *head,
                                struct wire_reader *reader, void *user);

struct fake_broker *fake_broker_start(fake_broker_script *script, void *user);
/* Called in the broker's thread after each WELCOME. Before any worker or client starts. */
void fake_broker_on_welcome(struct fake_broker *broker,
                            void (*welcomed)(struct fake_broker *broker, void *user));
/* Ends the thread and removes the folder. */
void fake_broker_stop(struct fake_broker **broker);

const char *fake_broker_endpoint(const struct fake_broker *broker);

/* --- from the script, in the broker's thread ----------------------------------------------------
 */

/* Send to the peer whose message came last; the buffer is released. */
void fake_broker_send(struct fake_broker *broker, struct wire_buffer *frame);
/* An answer without body. */
void fake_broker_answer(struct fake_broker *broker, uint64_t id, enum status status,
                        const char *text);
/* An answer with `count` times the same item status. */
void fake_broker_answer_items(struct fake_broker *broker, uint64_t id, uint32_t count,
                              enum status status);
/* Forget this connection at once: as if the broker had been started anew. */
void fake_broker_forget(struct fake_broker *broker);
/* The last HELLO. */
const struct hello *fake_broker_hello(const struct fake_broker *broker);

/* --- from any thread -------------------------------------------------------------------------- */

/* Forget all sessions: what comes next gets no-session. */
void fake_broker_forget_all(struct fake_broker *broker);
/* End all connections and listen anew, as a broker that was killed and started: what is under way
 * is lost, and what comes next gets no-session. */
void fake_broker_restart(struct fake_broker *broker);
/* The identity of the store: 'A' at first. */
void fake_broker_set_store(struct fake_broker *broker, char store);
/* Refuse each HELLO with this status; OK: welcome them. */
void fake_broker_refuse_hello(struct fake_broker *broker, enum status status);
/* How many have been said, refused ones too. */
uint32_t fake_broker_hellos(const struct fake_broker *broker);

#endif
