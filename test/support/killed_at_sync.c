/* Tells what a program makes durable, and kills it before it has, for LD_PRELOAD: each name that is
   made and each file or directory that is synced is a line of the file SYNC_LOG; SYNC_KILL_AT is the
   number of the call of fsync() that the program does not survive. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *what, const char *name) {
    const char *log = getenv("SYNC_LOG");
    char line[2 * PATH_MAX];
    int length = snprintf(line, sizeof line, "%s %s\n", what, name);
    int fd = log != NULL ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0) return;
    if (write(fd, line, (size_t)length) != length) abort();
    close(fd);
}

int fsync(int fd) {
    static int calls;
    const char *at = getenv("SYNC_KILL_AT");
    char link[64], name[PATH_MAX];
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) == (at != NULL ? atoi(at) : 0))
        kill(getpid(), SIGKILL);
    if (syscall(SYS_fsync, fd) != 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = '\0';
    tell("sync", name);
    return 0;
}

int mkdir(const char *path, mode_t mode) {
    if (syscall(SYS_mkdirat, AT_FDCWD, path, mode) != 0) return -1;
    tell("make", path);
    return 0;
}

int rename(const char *from, const char *to) {
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) != 0) return -1;
    tell("make", to);
    return 0;
}
