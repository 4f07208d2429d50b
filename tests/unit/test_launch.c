#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Two folders, of which PATH is made. */
struct place {
    char root[64];
    char first[80];
    char second[80];
    char output[600]; /* of the program that ran last */
};

static int begin(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    if (!place)
        return -1;
    strcpy(place->root, "/tmp/everdue-launch-XXXXXX");
    if (!mkdtemp(place->root))
        return -1;
    snprintf(place->first, sizeof(place->first), "%s/first", place->root);
    snprintf(place->second, sizeof(place->second), "%s/second", place->root);
    *state = place;
    return mkdir(place->first, 0700) || mkdir(place->second, 0700) ? -1 : 0;
}

static int end(void **state)
{
    struct place *place = *state;
    char command[100];
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(command, sizeof(command), "rm -r %s", place->root);
    int code = system(command);
    free(place);
    return code;
}

static void write_file(const char *folder, const char *name, const char *text, mode_t mode)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void remove_file(const char *folder, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static void set_path(const struct place *place)
{
    char path[200];
    snprintf(path, sizeof(path), "/nowhere:%s:%s", place->first, place->second);
    setenv("PATH", path, 1);
}

static const char *const no_arguments[] = {"tool", NULL};
static const char *const environment[] = {"MOOD=good", NULL};

/* Its error, or, once it has ended well, what it wrote. */
static int run_with(struct place *place, struct launch *launch, const char *const *arguments)
{
    int ends[2], wait_status;
    pid_t pid = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int streams[3] = {input, ends[1], 2};
    /* POSIX leaves out the const that it keeps. */
    int error = launch_start(launch, (char *const *)(uintptr_t)arguments,
                             (char *const *)(uintptr_t)environment, streams, &pid);
    close(input);
    close(ends[1]);
    size_t count = 0;
    ssize_t got;
    while ((got = read(ends[0], place->output + count, sizeof(place->output) - 1 - count)) > 0)
        count += (size_t)got;
    place->output[count] = '\0';
    close(ends[0]);
    if (error) {
        assert_int_equal(pid, 0);
        return error;
    }
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_int_equal(wait_status, 0);
    return 0;
}

static int run(struct place *place, struct launch *launch)
{
    return run_with(place, launch, no_arguments);
}

static void the_first_of_that_name_in_path_that_may_be_executed_is_meant(void **state)
{
    struct place *place = *state;
    struct launch launch;
    launch_init(&launch, "tool");
    set_path(place);
    write_file(place->first, "tool", "#!/bin/sh\necho first\n", 0600);
    write_file(place->second, "tool", "#!/bin/sh\necho second $MOOD\n", 0700);
    assert_int_equal(run(place, &launch), 0);
    assert_string_equal(place->output, "second good\n");
    launch_release(&launch);
}

static void a_program_that_has_moved_is_found_again(void **state)
{
    struct place *place = *state;
    struct launch launch;
    launch_init(&launch, "tool");
    set_path(place);
    write_file(place->second, "tool", "#!/bin/sh\necho old\n", 0700);
    assert_int_equal(run(place, &launch), 0);
    write_file(place->first, "tool", "#!/bin/sh\necho new\n", 0700);
    assert_int_equal(run(place, &launch), 0);
    assert_string_equal(place->output, "old\n"); /* as long as it is there */
    remove_file(place->second, "tool");
    assert_int_equal(run(place, &launch), 0);
    assert_string_equal(place->output, "new\n");
    remove_file(place->first, "tool");
    assert_int_equal(run(place, &launch), ENOENT);
    write_file(place->second, "tool", "#!/bin/sh\necho again\n", 0700);
    assert_int_equal(run(place, &launch), 0);
    assert_string_equal(place->output, "again\n");
    launch_release(&launch);
}

static void what_cannot_be_executed_says_why_and_leaves_no_process(void **state)
{
    struct place *place = *state;
    struct launch launch;
    set_path(place);
    launch_init(&launch, "tool");
    assert_int_equal(run(place, &launch), ENOENT);
    write_file(place->first, "tool", "#!/bin/sh\n", 0600);
    assert_int_equal(run(place, &launch), EACCES);
    write_file(place->second, "tool", "echo no shell reads this\n", 0700);
    assert_int_equal(run(place, &launch), ENOEXEC);
    launch_release(&launch);
    launch_init(&launch, "./not/here");
    assert_int_equal(run(place, &launch), ENOENT);
    launch_release(&launch);
    launch_init(&launch, "");
    assert_int_equal(run(place, &launch), EACCES); /* every folder is one, and no file */
    launch_release(&launch);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void without_path_the_usual_folders_are_searched(void **state)
{
    struct place *place = *state;
    struct launch launch;
    const char *const arguments[] = {"sh", "-c", "echo there", NULL};
    unsetenv("PATH");
    launch_init(&launch, "sh");
    assert_int_equal(run_with(place, &launch, arguments), 0);
    assert_string_equal(place->output, "there\n");
    launch_release(&launch);
}

static void an_empty_folder_in_path_is_the_current_one(void **state)
{
    struct place *place = *state;
    struct launch launch;
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(place->first), 0);
    write_file(place->first, "tool", "#!/bin/sh\necho here\n", 0700);
    setenv("PATH", "/nowhere:", 1);
    launch_init(&launch, "tool");
    assert_int_equal(run(place, &launch), 0);
    assert_string_equal(place->output, "here\n");
    launch_release(&launch);
    assert_int_equal(chdir(before), 0);
}

/* What a program inherits, as the kernel tells it. */
static void a_program_has_its_own_group_three_descriptors_and_all_signals(void **state)
{
    struct place *place = *state;
    struct launch launch;
    const char *const arguments[] = {
        "sh", "-c",
        "read pid comm state parent group rest </proc/self/stat; test $$ = $group && echo leads; "
        "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l",
        NULL};
    sigset_t some, before;
    int leak = dup(2); /* not closed on exec */
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &some, &before);
    signal(SIGPIPE, SIG_IGN);
    setenv("PATH", "/usr/bin:/bin", 1);
    launch_init(&launch, "sh");
    int error = run_with(place, &launch, arguments);
    signal(SIGPIPE, SIG_DFL);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, &before, &now);
    assert_true(sigismember(&now, SIGTERM)); /* ours are as they were */
    assert_false(sigismember(&now, SIGINT));
    close(leak);
    assert_int_equal(error, 0);
    /* The fourth is that of the folder that ls reads. */
    assert_string_equal(place->output, "leads\nSigBlk:\t0000000000000000\n"
                                       "SigIgn:\t0000000000000000\n4\n");
    launch_release(&launch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            the_first_of_that_name_in_path_that_may_be_executed_is_meant, begin, end),
        cmocka_unit_test_setup_teardown(a_program_that_has_moved_is_found_again, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_executed_says_why_and_leaves_no_process,
                                        begin, end),
        cmocka_unit_test_setup_teardown(without_path_the_usual_folders_are_searched, begin, end),
        cmocka_unit_test_setup_teardown(an_empty_folder_in_path_is_the_current_one, begin, end),
        cmocka_unit_test_setup_teardown(
            a_program_has_its_own_group_three_descriptors_and_all_signals, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
