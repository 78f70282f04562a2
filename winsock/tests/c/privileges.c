/* A server that gives up the user root keeps its reservations in the kernel. Ends with 77 where it may not try. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

static void run(const char *command) { check(command, system(command), 0); }

/* Capabilities of any thread of the process besides CAP_NET_ADMIN. */
static int other_capabilities(void) {
    return system("pid=$PPID; for task in /proc/$pid/task/*; do "
                  "case $(grep CapPrm $task/status) in *0000000000001000|*0000000000000000) ;; *) exit 1;; esac; done");
}

/* The classes in the kernel. */
static int classes(void) {
    FILE *list = popen("tc class show dev gq0 | grep -c 'htb 6771:'", "r");
    int count = -1;
    if (fscanf(list, "%d", &count) != 1) count = -1;
    pclose(list);
    return count;
}

static void reserve(struct sockaddr_in *peer) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    QOS qos = guaranteed(100000, 10000);
    int before = classes(), round;
    GIVES("a connection with QOS", WSAConnect(s, NAME(*peer), NULL, NULL, &qos, NULL));
    check("  has a class", classes(), before + 1);
    check("send", send(s, "hello", 5, 0), 5);
    GIVES("closesocket", closesocket(s));
    /* The class is removed once its queue is empty. */
    for (round = 0; round < 200 && classes() != before; round++) usleep(20000);
    check("  removes the class", classes(), before);
}

int main(void) {
    WSADATA data;
    struct sockaddr_in peer = address("10.7.0.2", 9);
    if (unshare(CLONE_NEWNET)) {
        printf("no network namespace: %s\n", strerror(errno));
        return 77;
    }
    alarm(60);
    run("ip link add gq0 type veth peer name gq1 && ip addr add 10.7.0.1/24 dev gq0 && ip link set gq0 up && "
        "ip link set gq1 up && ip neigh add 10.7.0.2 lladdr 02:00:00:00:00:01 dev gq0");
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    run("tc qdisc show dev gq0 | grep -q 'htb 6771:'");
    reserve(&peer);
    check("setgid", setgid(65534), 0);
    check("setuid", setuid(65534), 0);
    reserve(&peer);
    reserve(&peer);
    check("other capabilities", other_capabilities(), 0);
    check("root again", setuid(0) == -1, 1);
    GIVES("WSACleanup", WSACleanup());
    run("! tc qdisc show dev gq0 | grep 6771:");
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
