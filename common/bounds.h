/* bounds.h - what the protocol bounds for everybody. Operators can lower some of them (options.h);
 * nobody can raise them. docs/protocol.md, "Limits", is the same table for people. */
#ifndef EVERDUE_BOUNDS_H
#define EVERDUE_BOUNDS_H

enum {
    KEY_BYTES_MAX = 1024,
    QUEUE_NAME_BYTES_MAX = 64, /* of letters, digits, '.', '_' and '-' */
    GROUP_BYTES_MAX = 255,
    NOTE_BYTES_MAX = 1024, /* note and error; longer ones are cut by the broker */
    SESSION_NAME_BYTES_MAX = 255,
    SESSION_UID_BYTES = 16,
    STORE_ID_BYTES = 16,
    SESSION_QUEUES_MAX = 64,
    QUEUES_MAX = 1024,
    CREDIT_MAX = 16384,
    ITEMS_MAX = 4096,              /* items in one message */
    PAYLOAD_BYTES_DEFAULT = 65536, /* limit of payload and of memo, each */
    PAYLOAD_BYTES_MAX = 262144,
    MESSAGE_BYTES_MAX = 1048576, /* one frame, one message */
    MESSAGE_BYTES_SOFT = 196608, /* a batch is closed when it has grown to this */
    HWM_MESSAGES = 4096,
    LEASE_MS_MIN = 100,
    LEASE_MS_MAX = 86400000,
    LEASE_MS_DEFAULT = 60000,
    HEARTBEAT_MS_MIN = 50,
    HEARTBEAT_MS_MAX = 600000,
    HEARTBEAT_MS_DEFAULT = 5000,
    HEARTBEATS_LOST = 3, /* silence of so many heartbeats ends a session */
};

#endif
