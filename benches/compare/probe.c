/* probe: the workload and the "physical limit" loops of the benches, in one small static C program.
 *   birth ADDR          first act: send "<pid> <monotonic ns>" to the abstract unix datagram socket ADDR; then sleep for ever
 *   waitloop CMD...     limit: vfork+exec, waitid, again
 *   spew BYTES [wait]   write BYTES of 100-byte console lines, then the line SPEW-END (with "wait": after a line on stdin)
 *   tick RATE SECS wait RATE lines a second, each "T<monotonic ns> ..." padded to 100 bytes, then SPEW-END
 *   ptyread CMD...      limit: run CMD on a PTY and read the master with 64 KiB reads; prints bytes and seconds
 * Build: gcc -O2 -static -o probe probe.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void wait_line(void) {
  char c;
  while (read(0, &c, 1) == 1 && c != '\n')
    ;
}

static void put(const char *p, size_t n) {
  while (n) {
    ssize_t w = write(1, p, n);
    if (w < 0) {
      if (errno == EINTR) continue;
      exit(1);
    }
    p += w, n -= w;
  }
}

static int birth(const char *addr) {
  long long t = now();
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t n = strlen(addr);
  memcpy(a.sun_path + 1, addr, n);
  char m[64];
  int l = sprintf(m, "%d %lld", getpid(), t);
  int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sendto(s, m, l, 0, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + n);
  close(s);
  for (;;) pause();
  return 0;
}

static int waitloop(char **cmd) {
  for (;;) {
    pid_t p;
    if (posix_spawn(&p, cmd[0], 0, 0, cmd, environ)) return 1;
    siginfo_t i;
    while (waitid(P_PID, p, &i, WEXITED) < 0 && errno == EINTR)
      ;
  }
}

static int spew(long long bytes, int wait) {
  static char buf[8000];
  for (int i = 0; i < 80; i++) {
    memset(buf + 100 * i, 'a' + i % 26, 100);
    memcpy(buf + 100 * i, "[12:34:56] [Server thread/INFO]: ", 33);
    buf[100 * i + 99] = '\n';
  }
  if (wait) wait_line();
  for (long long d = 0; d < bytes; d += 8000) put(buf, 8000);
  put("SPEW-END\n", 9);
  sleep(1);
  return 0;
}

static int tick(long rate, double secs, int wait) {
  if (wait) wait_line();
  long n = rate * secs;
  long long start = now();
  for (long i = 0; i < n; i++) {
    long long due = start + i * 1000000000LL / rate;
    struct timespec t = {due / 1000000000LL, due % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0);
    char line[101];
    int l = sprintf(line, "T%lld ", now());
    memset(line + l, '.', 99 - l);
    line[99] = '\n';
    put(line, 100);
  }
  put("SPEW-END\n", 9);
  sleep(1);
  return 0;
}

static int ptyread(char **cmd) {
  int m = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  grantpt(m), unlockpt(m);
  char *name = ptsname(m);
  if (fork() == 0) {
    setsid();
    int s = open(name, O_RDWR);
    ioctl(s, TIOCSCTTY, 0);
    dup2(s, 0), dup2(s, 1), dup2(s, 2);
    execv(cmd[0], cmd);
    _exit(127);
  }
  static char buf[65536];
  long long t0 = 0, n = 0, calls = 0;
  ssize_t r;
  while ((r = read(m, buf, sizeof buf)) > 0) {
    if (!t0) t0 = now();
    n += r, calls++;
    if (memmem(buf, r, "SPEW-END", 8)) break;
  }
  double s = (now() - t0) / 1e9;
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  double cpu = u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
  printf("{\"bytes\": %lld, \"secs\": %.4f, \"cpu\": %.4f, \"reads\": %lld}\n", n, s, cpu, calls);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "birth")) return birth(argv[2]);
  if (argc > 2 && !strcmp(argv[1], "waitloop")) return waitloop(argv + 2);
  if (argc > 2 && !strcmp(argv[1], "spew")) return spew(atoll(argv[2]), argc > 3);
  if (argc > 3 && !strcmp(argv[1], "tick")) return tick(atol(argv[2]), atof(argv[3]), argc > 4);
  if (argc > 2 && !strcmp(argv[1], "ptyread")) return ptyread(argv + 2);
  fprintf(stderr, "see the head of probe.c\n");
  return 2;
}
