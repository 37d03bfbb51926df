/* Stands between a server and the system: counts what it does to the files of one folder, lets the
 * call that it is told fail, tears it, or kills the process there, and writes everything down.
 *
 * Preloaded into the real process by tests/faults/rig.rs, which builds it. The environment names
 * HIVELOG_FAULT_DIR (the folder), HIVELOG_FAULT_TRACE (the account; appended to), and
 * HIVELOG_FAULT_CONTROL (what to do; read at each call, so that it can be changed at any moment).
 *
 * One lock is held over a call and its line in the account: the order of the account is the order
 * of the calls. Clients write what they were told into the same file, after they were told.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, SYNC = 4, TRUNCATE = 8, UNLINK = 16, RENAME = 32, MAP = 64, READ = 128 };
enum { FAIL = 1, SHORT = 2, KILL_BEFORE = 3, KILL_AFTER = 4, KILL_WITHIN = 5 };
/* What a descriptor leads to. PROBE is a file without a name in the folder: it fails as its
 * neighbours do, and is no part of the account. */
enum { NONE = 0, DATA = 1, INDEX = 2, FOLDER = 3, PROBE = 4 };
#define A_PROBE "a probe"

struct control {
    uint64_t at;      /* the call to strike at, counted from 1; 0: none */
    uint64_t times;   /* how many calls on the same thing, or on a probe, fail from there on */
    uint32_t mask;    /* which calls count */
    int32_t error;
    uint32_t mode;
    uint32_t record;  /* whether the bytes are kept */
    int64_t clock_ms; /* added to the wall clock */
    uint64_t spare[3];
};

struct record {
    uint8_t type, class, spare[2];
    uint32_t handle;
    uint64_t a, b, bytes;
};

#define FDS 65536
static struct { uint8_t kind; uint32_t handle; } fds[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char folder[PATH_MAX];
static size_t folder_len;
static int trace_fd = -1, control_fd = -1;
static uint64_t calls, handles, blows; /* calls that count, descriptors, calls that were struck */
static char struck[NAME_MAX + 1];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_close)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);
static int (*real_link)(const char *, const char *);
static int (*real_linkat)(int, const char *, int, const char *, int);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void note(uint8_t type, uint8_t class, uint32_t handle, uint64_t a, uint64_t b, const void *data, size_t bytes) {
    struct record head = { .type = type, .class = class, .handle = handle, .a = a, .b = b, .bytes = bytes };
    struct iovec parts[2] = { { &head, sizeof head }, { (void *)data, bytes } };
    if (trace_fd >= 0 && writev(trace_fd, parts, bytes ? 2 : 1) != (ssize_t)(sizeof head + bytes)) {
        abort(); /* an account with a hole proves nothing */
    }
}

static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_read = dlsym(RTLD_NEXT, "read");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_close = dlsym(RTLD_NEXT, "close");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_link = dlsym(RTLD_NEXT, "link");
    real_linkat = dlsym(RTLD_NEXT, "linkat");
    real_mmap = dlsym(RTLD_NEXT, "mmap64");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *dir = getenv("HIVELOG_FAULT_DIR"), *trace = getenv("HIVELOG_FAULT_TRACE"), *control = getenv("HIVELOG_FAULT_CONTROL");
    if (!dir || !trace || !control || strlen(dir) >= sizeof folder) return;
    strcpy(folder, dir);
    folder_len = strlen(folder);
    control_fd = real_open(control, O_RDONLY | O_CLOEXEC);
    trace_fd = real_open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (control_fd < 0 || trace_fd < 0) abort();
    note('P', 0, 0, (uint64_t)getpid(), 0, NULL, 0);
}

__attribute__((constructor)) static void at_start(void) { pthread_once(&once, begin); }
__attribute__((destructor)) static void at_end(void) { note('N', 0, 0, calls, 0, NULL, 0); }

static struct control orders(void) {
    struct control now;
    memset(&now, 0, sizeof now);
    if (control_fd >= 0 && real_pread(control_fd, &now, sizeof now, 0) != (ssize_t)sizeof now) memset(&now, 0, sizeof now);
    return now;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The database, its WAL, and what is being built to become one of them; their index; their folder. */
static int kind_of(const char *path) {
    if (!folder_len || strncmp(path, folder, folder_len)) return NONE;
    if (path[folder_len] == 0) return FOLDER;
    if (path[folder_len] != '/' || path[folder_len + 1] == 0) return path[folder_len] == '/' ? FOLDER : NONE;
    const char *name = path + folder_len + 1;
    if (strchr(name, '/') || strstr(name, ".lock") || strstr(name, ".token") || strstr(name, ".search")) return NONE;
    size_t len = strlen(name);
    return len > 4 && !strcmp(name + len - 4, "-shm") ? INDEX : DATA;
}

static int kind_of_fd(int fd) { return fd >= 0 && fd < FDS ? fds[fd].kind : NONE; }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What is to become of this call: 0 to go on, or the error; `how` is the mode that strikes. */
static int strike(uint8_t class, const char *name, struct control *now, uint32_t *how) {
    *now = orders();
    *how = 0;
    if (!(now->mask & class)) return 0;
    calls++;
    if (!now->at || calls < now->at) return 0;
    if (calls == now->at) {
        blows = 0;
        snprintf(struck, sizeof struck, "%s", name);
    } else if (blows >= (now->times ? now->times : 1) || (strcmp(name, struck) && strcmp(name, A_PROBE))) {
        /* A failed write of one file is followed by a look whether there is room, not by one of another. */
        return 0;
    }
    blows++;
    note('X', class, now->mode, calls, (uint64_t)now->error, name, strlen(name));
    *how = now->mode;
    if (now->mode == KILL_BEFORE) die();
    return now->mode == FAIL || (now->mode == SHORT && (class != WRITE || calls > now->at)) ? now->error : 0;
}

static void after(uint32_t how) { if (how == KILL_AFTER || how == KILL_WITHIN) die(); }

static int opened(int fd, const char *path, int kind, int is_new, int flags) {
    if (fd < 0 || fd >= FDS) return fd;
    fds[fd].kind = (uint8_t)kind;
    fds[fd].handle = (uint32_t)++handles;
    if (kind == DATA) note('O', OPEN, fds[fd].handle, (uint64_t)is_new, (uint64_t)!!(flags & O_TRUNC), name_of(path), strlen(name_of(path)));
    return fd;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    pthread_once(&once, begin);
    int kind = at == AT_FDCWD || path[0] == '/' ? kind_of(path) : NONE;
    if (kind == FOLDER && (flags & O_TMPFILE) == O_TMPFILE) kind = PROBE;
    if (kind == NONE) return at == AT_FDCWD ? real_open(path, flags, mode) : real_openat(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(OPEN, name_of(path), &now, &how), fd = -1;
    if (!error) {
        struct stat st;
        int is_new = kind == DATA && (flags & O_CREAT) && stat(path, &st) != 0;
        fd = opened(real_open(path, flags, mode), path, kind, is_new, flags);
        error = errno;
        after(how);
    }
    pthread_mutex_unlock(&lock);
    if (fd < 0) errno = error;
    return fd;
}

#define WITH_MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { WITH_MODE(flags) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { WITH_MODE(flags) return do_open(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { WITH_MODE(flags) return do_open(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { WITH_MODE(flags) return do_open(at, path, flags, mode); }

int close(int fd) {
    pthread_once(&once, begin);
    if (kind_of_fd(fd) != NONE) {
        pthread_mutex_lock(&lock);
        fds[fd].kind = NONE;
        int done = real_close(fd);
        pthread_mutex_unlock(&lock);
        return done;
    }
    return real_close(fd);
}

static ssize_t do_write(int fd, const void *data, size_t bytes, off_t at, int has_place) {
    pthread_once(&once, begin);
    int kind = kind_of_fd(fd);
    if (kind == NONE) return has_place ? real_pwrite(fd, data, bytes, at) : real_write(fd, data, bytes);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    char name[32];
    if (kind == PROBE) snprintf(name, sizeof name, A_PROBE);
    else snprintf(name, sizeof name, "handle %u", fds[fd].handle);
    int error = strike(WRITE, name, &now, &how);
    ssize_t done = -1;
    if (!error) {
        if (!has_place) at = lseek(fd, 0, SEEK_CUR);
        if ((how == SHORT || how == KILL_WITHIN) && bytes > 1) bytes = bytes / 2;
        done = has_place ? real_pwrite(fd, data, bytes, at) : real_write(fd, data, bytes);
        error = errno;
        if (done > 0 && kind == DATA && now.record) note('W', WRITE, fds[fd].handle, (uint64_t)at, 0, data, (size_t)done);
        after(how);
    }
    pthread_mutex_unlock(&lock);
    if (done < 0) errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t bytes) { return do_write(fd, data, bytes, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) { return do_write(fd, data, bytes, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at) { return do_write(fd, data, bytes, at, 1); }

static int reads_fail(int fd) {
    pthread_once(&once, begin);
    int kind = kind_of_fd(fd);
    if (kind != DATA && kind != INDEX) return 0;
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(READ, "a read", &now, &how);
    pthread_mutex_unlock(&lock);
    return error;
}

ssize_t read(int fd, void *data, size_t bytes) {
    int error = reads_fail(fd);
    if (!error) return real_read(fd, data, bytes);
    errno = error;
    return -1;
}

static ssize_t do_pread(int fd, void *data, size_t bytes, off_t at) {
    int error = reads_fail(fd);
    if (!error) return real_pread(fd, data, bytes, at);
    errno = error;
    return -1;
}
ssize_t pread(int fd, void *data, size_t bytes, off_t at) { return do_pread(fd, data, bytes, at); }
ssize_t pread64(int fd, void *data, size_t bytes, off_t at) { return do_pread(fd, data, bytes, at); }

static int do_sync(int fd, int (*real)(int)) {
    int kind = kind_of_fd(fd);
    if (kind == NONE) return real(fd);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(SYNC, "a sync", &now, &how), done = -1;
    uint32_t handle = fds[fd].handle;
    if (!error) {
        done = real(fd);
        error = errno;
    }
    if (kind == DATA) note(done ? 'F' : 'S', SYNC, handle, 0, 0, NULL, 0);
    if (kind == FOLDER) note(done ? 'E' : 'D', SYNC, handle, 0, 0, NULL, 0);
    after(how);
    pthread_mutex_unlock(&lock);
    if (done) errno = error;
    return done;
}

int fsync(int fd) { pthread_once(&once, begin); return do_sync(fd, real_fsync); }
int fdatasync(int fd) { pthread_once(&once, begin); return do_sync(fd, real_fdatasync); }

static int do_ftruncate(int fd, off_t bytes) {
    pthread_once(&once, begin);
    int kind = kind_of_fd(fd);
    if (kind == NONE) return real_ftruncate(fd, bytes);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(TRUNCATE, "a truncation", &now, &how), done = -1;
    if (!error) {
        done = real_ftruncate(fd, bytes);
        error = errno;
        if (!done && kind == DATA) note('T', TRUNCATE, fds[fd].handle, (uint64_t)bytes, 0, NULL, 0);
        after(how);
    }
    pthread_mutex_unlock(&lock);
    if (done) errno = error;
    return done;
}
int ftruncate(int fd, off_t bytes) { return do_ftruncate(fd, bytes); }
int ftruncate64(int fd, off_t bytes) { return do_ftruncate(fd, bytes); }

int unlink(const char *path) {
    pthread_once(&once, begin);
    int kind = kind_of(path);
    if (kind != DATA && kind != INDEX) return real_unlink(path);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(UNLINK, name_of(path), &now, &how), done = -1;
    if (!error) {
        done = real_unlink(path);
        error = errno;
        if (!done && kind == DATA) note('U', UNLINK, 0, 0, 0, name_of(path), strlen(name_of(path)));
        after(how);
    }
    pthread_mutex_unlock(&lock);
    if (done) errno = error;
    return done;
}

static int do_move(uint8_t type, int (*real)(const char *, const char *), const char *from, const char *to) {
    pthread_once(&once, begin);
    if (kind_of(to) != DATA) return real(from, to);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(RENAME, name_of(to), &now, &how), done = -1;
    if (!error) {
        done = real(from, to);
        error = errno;
        char names[2 * NAME_MAX + 2];
        int bytes = snprintf(names, sizeof names, "%s/%s", name_of(from), name_of(to));
        if (!done) note(type, RENAME, 0, 0, 0, names, (size_t)bytes);
        after(how);
    }
    pthread_mutex_unlock(&lock);
    if (done) errno = error;
    return done;
}

int rename(const char *from, const char *to) { pthread_once(&once, begin); return do_move('R', real_rename, from, to); }
int link(const char *from, const char *to) { pthread_once(&once, begin); return do_move('L', real_link, from, to); }
static int link_here(const char *from, const char *to) { return real_linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    pthread_once(&once, begin);
    if (from_at != AT_FDCWD || to_at != AT_FDCWD || flags) return real_linkat(from_at, from, to_at, to, flags);
    return do_move('L', link_here, from, to);
}

static void *do_mmap(void *near, size_t bytes, int protection, int flags, int fd, off_t at) {
    if (!real_mmap) return (void *)syscall(SYS_mmap, near, bytes, protection, flags, fd, at);
    if (kind_of_fd(fd) != INDEX) return real_mmap(near, bytes, protection, flags, fd, at);
    pthread_mutex_lock(&lock);
    struct control now;
    uint32_t how;
    int error = strike(MAP, "a mapping", &now, &how);
    void *done = error ? MAP_FAILED : real_mmap(near, bytes, protection, flags, fd, at);
    after(how);
    pthread_mutex_unlock(&lock);
    if (error) errno = error;
    return done;
}
void *mmap(void *near, size_t bytes, int protection, int flags, int fd, off_t at) { return do_mmap(near, bytes, protection, flags, fd, at); }
void *mmap64(void *near, size_t bytes, int protection, int flags, int fd, off_t at) { return do_mmap(near, bytes, protection, flags, fd, at); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real_clock_gettime) return (int)syscall(SYS_clock_gettime, clock, time);
    int done = real_clock_gettime(clock, time);
    if (!done && clock == CLOCK_REALTIME && control_fd >= 0) {
        int64_t ms = orders().clock_ms;
        time->tv_sec += ms / 1000;
    }
    return done;
}
