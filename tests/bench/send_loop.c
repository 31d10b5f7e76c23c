/* The baseline: one send() per connection per frame and nothing else. Accepts COUNT connections on a free port of
 * loopback, then for each line on standard input sends one frame of SIZE bytes to all of them and prints the
 * nanoseconds of CPU time (user and system) that took, and how many took the frame whole. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static long long cpu_ns(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: send_loop COUNT SIZE\n");
        return 2;
    }
    int count = atoi(argv[1]), size = atoi(argv[2]), one = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int *connections = calloc(count, sizeof(int));
    char *frame = malloc(size);
    memset(frame, 'x', size);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 4096);
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        connections[i] = accept(listener, NULL, NULL);
        setsockopt(connections[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        long long before = cpu_ns();
        int whole = 0;
        for (int i = 0; i < count; i++)
            whole += send(connections[i], frame, size, MSG_NOSIGNAL | MSG_DONTWAIT) == size;
        printf("%lld %d\n", cpu_ns() - before, whole);
        fflush(stdout);
    }
    return 0;
}
