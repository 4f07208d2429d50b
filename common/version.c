#include "version.h"

#include <stdio.h>

#include <czmq.h>
#include <lmdb.h>
#include <msgpack.h>

/* Only the broker links lmdb, and not every program msgpack's library: those that do tell what they
 * run with, the others what they were built with. */
#pragma weak mdb_version
#pragma weak msgpack_version

static void lmdb_text(char *text, size_t room)
{
    int major = MDB_VERSION_MAJOR;
    int minor = MDB_VERSION_MINOR;
    int patch = MDB_VERSION_PATCH;
    if (mdb_version)
        mdb_version(&major, &minor, &patch);
    snprintf(text, room, "%d.%d.%d", major, minor, patch);
}

const char *version_text(const char *program)
{
    static char text[256];
    char lmdb[40];
    int zmq[3];
    int czmq[3];
    lmdb_text(lmdb, sizeof(lmdb));
    zmq_version(&zmq[0], &zmq[1], &zmq[2]);
    zsys_version(&czmq[0], &czmq[1], &czmq[2]);
    snprintf(text, sizeof(text), "%s %s (libzmq %d.%d.%d, czmq %d.%d.%d, msgpack %s, lmdb %s)",
             program, EVERDUE_VERSION, zmq[0], zmq[1], zmq[2], czmq[0], czmq[1], czmq[2],
             msgpack_version ? msgpack_version() : MSGPACK_VERSION, lmdb);
    return text;
}
