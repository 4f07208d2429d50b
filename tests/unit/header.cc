// The public headers, read by a C++ compiler. Compiled, never run.
#include "everdue/client.h"
#include "everdue/types.h"
#include "everdue/worker.h"

int main()
{
    everdue_worker_options options = {};
    options.credit = 1;
    everdue_put put;
    everdue_put_init(&put);
    return everdue_status_name(0) == nullptr || options.credit == 0;
}
