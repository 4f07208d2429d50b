/* stopped.h - what everdue-broker does with the store of a broker that does not run: --check-store,
 * --dump-store, --salvage. Data on standard output, talk on standard error. */
#ifndef EVERDUE_STOPPED_H
#define EVERDUE_STOPPED_H

#include "options.h"

/* options->action, on options->directory. A sysexits code; 1: there is no such queue, or something
 * is lost. */
int stopped_run(const struct options *options);

#endif
