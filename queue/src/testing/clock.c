/* Preloaded into a redis-server: what time of day it sees, moved by as many seconds as the file CLOCK_MOVED_BY says, an
 * 8-byte number that may be changed at any time. Other clocks are as they are. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *moved_by;

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("CLOCK_MOVED_BY");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file < 0) return;
  void *there = mmap(NULL, sizeof *moved_by, PROT_READ, MAP_SHARED, file, 0);
  if (there != MAP_FAILED) moved_by = there;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = (int)syscall(SYS_clock_gettime, clock, time);
  int of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (result == 0 && of_day && moved_by) time->tv_sec += *moved_by;
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  int result = (int)syscall(SYS_gettimeofday, time, zone);
  if (result == 0 && moved_by) time->tv_sec += *moved_by;
  return result;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place) *place = now.tv_sec;
  return now.tv_sec;
}
