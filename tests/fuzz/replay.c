/* replay.c - gives the files of a directory to a fuzz target, each once: what the fuzzers have
 * found is a test of every build, by any compiler, and its branches are counted.
 */
#include <dirent.h>

#include "fuzz.h"

enum { INPUT_BYTES_MAX = 1 << 20, PATH_BYTES = 4096 };

/* Targets that begin with something have one. */
int LLVMFuzzerInitialize(int *count, char ***arguments) __attribute__((weak));

static void replay(const char *path)
{
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(data && file);
    size_t count = fread(data, 1, INPUT_BYTES_MAX, file);
    FUZZ_CHECK(!ferror(file) && count < INPUT_BYTES_MAX);
    fclose(file);
    char *copy = fuzz_copy(data, count);
    free(data);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, count);
    free(copy);
}

static int replay_all(const char *directory)
{
    struct dirent **names = NULL;
    char path[PATH_BYTES];
    int replayed = 0, count = scandir(directory, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            replay(path);
            replayed++;
        }
        free(names[i]);
    }
    free(names);
    return replayed;
}

int main(int count, char **words)
{
    if (count != 2)
        return 64;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&count, &words);
    int replayed = replay_all(words[1]);
    printf("%d inputs of %s\n", replayed, words[1]);
    return replayed ? 0 : 1;
}
