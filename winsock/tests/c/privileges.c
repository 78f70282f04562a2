/* A server that gives up the user root keeps its reservations in the kernel. One that loses all capabilities, in each of
 * its threads, is enforced in user space alone, or is refused where its policy wants the kernel: the argument says which
 * of "user", "auto" and "kernel" is tested. Ends with 77 where it may not try. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

/* The calling thread loses all its capabilities. */
static void lose_capabilities(int signal) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];
    (void)signal;
    memset(none, 0, sizeof none);
    syscall(SYS_capset, &header, none);
}

/* Threads of the process that have a capability. */
static int capable(void) {
    return system("pid=$PPID; for task in /proc/$pid/task/*; do "
                  "grep -q 'CapEff:.*[1-9a-f]' $task/status && exit 1; done; exit 0");
}

static void lose_all_capabilities(void) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    int round;
    signal(SIGUSR1, lose_capabilities);
    while ((task = readdir(tasks)) != NULL)
        if (task->d_name[0] != '.') syscall(SYS_tgkill, getpid(), atoi(task->d_name), SIGUSR1);
    closedir(tasks);
    for (round = 0; round < 200 && capable() != 0; round++) usleep(10000);
    check("no thread has a capability", capable(), 0);
}

/* A reservation after the capabilities were lost: enforced in user space, or refused. */
static void reserve_without(struct sockaddr_in *peer, int code) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    QOS qos = guaranteed(100000, 10000);
    int before = classes();
    FAILS("a connection with QOS, without capabilities", WSAConnect(s, NAME(*peer), NULL, NULL, &qos, NULL), code);
    check("  has no class", classes(), before);
    if (!code) check("send", send(s, "hello", 5, 0), 5);
    GIVES("closesocket", closesocket(s));
}

static void user(struct sockaddr_in *peer) {
    check("setgid", setgid(65534), 0);
    check("setuid", setuid(65534), 0);
    reserve(peer);
    reserve(peer);
    check("other capabilities", other_capabilities(), 0);
    check("root again", setuid(0) == -1, 1);
    GIVES("WSACleanup", WSACleanup());
    run("! tc qdisc show dev gq0 | grep 6771:");
}

static void without(struct sockaddr_in *peer, int code) {
    SOCKET early = socket(AF_INET, SOCK_DGRAM, 0);
    QOS qos = guaranteed(100000, 10000);
    int before = classes();
    GIVES("a connection with QOS", WSAConnect(early, NAME(*peer), NULL, NULL, &qos, NULL));
    check("  has a class", classes(), before + 1);
    lose_all_capabilities();
    reserve_without(peer, code);
    reserve_without(peer, code);
    check("send of the early one", send(early, "hello", 5, 0), 5);
    check("  which keeps its class", classes(), before + 1);
    GIVES("closesocket", closesocket(early));
    reserve_without(peer, code);
    GIVES("WSACleanup", WSACleanup());
    run("tc qdisc show dev gq0 | grep -q 'htb 6771:'");
}

int main(int count, char **arguments) {
    const char *tested = count > 1 ? arguments[1] : "user";
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
    if (!strcmp(tested, "user")) user(&peer);
    if (!strcmp(tested, "auto")) without(&peer, 0);
    if (!strcmp(tested, "kernel")) without(&peer, WSAEOPNOTSUPP);
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
