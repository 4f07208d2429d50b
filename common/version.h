/* version.h - one version for all programs. CMakeLists.txt reads it from here. */
#ifndef EVERDUE_VERSION_H
#define EVERDUE_VERSION_H

#define EVERDUE_VERSION "0.1.0"

/* "everdue-broker 0.1.0 (libzmq 4.3.4, czmq 4.2.1, msgpack 4.0.0, lmdb 0.9.24)": libraries as found
 * at run time where they tell, else at build time. Static. */
const char *version_text(const char *program);

#endif
