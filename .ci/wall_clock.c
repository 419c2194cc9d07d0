/* Sets the wall clock of a process ahead by WALL_CLOCK_AHEAD seconds, and leaves everything else alone.
 *
 * Preloaded by other-dates. Monotonic clocks, relative waits and the times of files stay true: libfaketime shifts some of
 * them, by which sleeps fail and waits never end. Deadlines given as a wall-clock time are shifted back for the kernel.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* A deadline below this is a monotonic one, seconds since the machine was started: 1e9 is in 2001, and 31 years. */
#define WALL_CLOCK_TIMES_BEGIN 1000000000

static long ahead(void)
{
    static long seconds = -1;
    if (seconds == -1) {
        const char *given = getenv("WALL_CLOCK_AHEAD");
        seconds = given ? atol(given) : 0;
    }
    return seconds;
}

static void *next_symbol(const char *name)
{
    /* Without the version dlsym gives the condition variables of glibc before 2.3.2 on x86-64. */
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found ? found : dlsym(RTLD_NEXT, name);
}

#define NEXT(name) ((__typeof__(&name))next_symbol(#name))

static const struct timespec *true_deadline(const struct timespec *given, struct timespec *shifted)
{
    if (!given || given->tv_sec < WALL_CLOCK_TIMES_BEGIN)
        return given;
    *shifted = *given;
    shifted->tv_sec -= ahead();
    return shifted;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) next;
    if (!next)
        next = NEXT(clock_gettime);
    int failed = next ? next(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        now->tv_sec += ahead();
    return failed;
}

time_t time(time_t *into)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *into, int base)
{
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, into) ? base : 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    struct timespec shifted;
    if (clock == CLOCK_REALTIME && flags & TIMER_ABSTIME)
        wanted = true_deadline(wanted, &shifted);
    return NEXT(clock_nanosleep)(clock, flags, wanted, left);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *deadline)
{
    static __typeof__(&pthread_cond_timedwait) next;
    struct timespec shifted;
    if (!next)
        next = NEXT(pthread_cond_timedwait);
    return next(condition, mutex, true_deadline(deadline, &shifted));
}

int pthread_cond_clockwait(
    pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline)
{
    struct timespec shifted;
    return NEXT(pthread_cond_clockwait)(condition, mutex, clock, true_deadline(deadline, &shifted));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline)
{
    struct timespec shifted;
    return NEXT(pthread_mutex_timedlock)(mutex, true_deadline(deadline, &shifted));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    struct timespec shifted;
    return NEXT(sem_timedwait)(semaphore, true_deadline(deadline, &shifted));
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict deadline)
{
    struct timespec shifted;
    return NEXT(sem_clockwait)(semaphore, clock, true_deadline(deadline, &shifted));
}
