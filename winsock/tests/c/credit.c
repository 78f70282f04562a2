/* A program that gives its reservation back whenever its bucket is empty, and asks for the same again. What arrives in
 * three seconds is at most the bucket and the rate. The argument says how it sends; the policy, what enforces.
 *
 * Ends with 77 where it cannot have a network namespace. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <winsock2.h>
#include "check.h"

#define RATE 100000
#define DEPTH 65536
#define SECONDS 3

/* Linux's TCP_CONGESTION and SIOCOUTQ, whose headers winsock2.h replaces. */
#define LINUX_IPPROTO_TCP 6
#define LINUX_TCP_CONGESTION 13
#define LINUX_SIOCOUTQ 0x5411

static char data[DEPTH];
static struct sockaddr_in peer;
static long received = 0;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void pause_micros(unsigned micros) { usleep(micros); }

/* Counts what the datagrams bring. */
static void *datagram_reader(void *argument) {
    SOCKET s = *(SOCKET *)argument;
    char buffer[2048];
    int came;
    while ((came = recv(s, buffer, sizeof buffer, 0)) > 0)
        __atomic_add_fetch(&received, came, __ATOMIC_RELAXED);
    return NULL;
}

/* Counts what the connections bring, one after another. */
static void *reader(void *argument) {
    SOCKET listener = *(SOCKET *)argument, s;
    char buffer[65536];
    int came;
    while ((s = accept(listener, NULL, NULL)) != INVALID_SOCKET) {
        while ((came = recv(s, buffer, sizeof buffer, 0)) > 0)
            __atomic_add_fetch(&received, came, __ATOMIC_RELAXED);
        closesocket(s);
    }
    return NULL;
}

static int set(SOCKET s, QOS *qos) {
    DWORD size;
    return WSAIoctl(s, SIO_SET_QOS, qos, sizeof *qos, NULL, 0, &size, NULL, NULL);
}

/* Reserves. Reservations whose data has not left yet may still take the budget. */
static void reserve(SOCKET s) {
    QOS qos = guaranteed(RATE, DEPTH);
    while (set(s, &qos) == SOCKET_ERROR) {
        if (WSAGetLastError() != WSAEOPNOTSUPP) {
            GIVES("SIO_SET_QOS", SOCKET_ERROR);
            return;
        }
        pause_micros(5000);
    }
}

static void release(SOCKET s) {
    QOS qos = guaranteed(RATE, DEPTH);
    qos.SendingFlowspec.ServiceType = SERVICETYPE_NOTRAFFIC;
    qos.ReceivingFlowspec.ServiceType = SERVICETYPE_NOTRAFFIC;
    if (set(s, &qos) == SOCKET_ERROR)
        GIVES("SIO_SET_QOS, no traffic", SOCKET_ERROR);
}

static SOCKET connected(int type) {
    u_long nonblocking = 1;
    SOCKET s = socket(AF_INET, type, 0);
    if (type == SOCK_STREAM && syscall(SYS_setsockopt, s, LINUX_IPPROTO_TCP, LINUX_TCP_CONGESTION, "cubic", 5))
        check("TCP_CONGESTION", errno, 0);
    reserve(s);
    if (connect(s, (struct sockaddr *)&peer, sizeof peer) == SOCKET_ERROR)
        GIVES("connect", SOCKET_ERROR);
    ioctlsocket(s, FIONBIO, &nonblocking);
    return s;
}

static void send_what_passes(SOCKET s) {
    while (send(s, data, 16384, 0) > 0)
        ;
}

/* Waits until the peer has acknowledged everything. */
static void drain(SOCKET s, double end) {
    int left = 0;
    while (!syscall(SYS_ioctl, s, LINUX_SIOCOUTQ, &left) && left > 0 && now() < end)
        pause_micros(200);
}

/* SIO_SET_QOS with no traffic, and back. */
static void toggle(int past_the_library, double end) {
    SOCKET s = connected(past_the_library ? SOCK_DGRAM : SOCK_STREAM);
    while (now() < end) {
        int packet;
        if (!past_the_library)
            send_what_passes(s);
        else
            for (packet = 0; packet < DEPTH / 1428; packet++)
                if (write((int)s, data, 1400) < 0 && errno != EAGAIN && errno != ENOBUFS)
                    check("write", errno, 0);
        drain(s, end);
        if (now() >= end)
            break;
        release(s);
        reserve(s);
    }
    pause_micros(100000);
}

/* Connections one after another. */
static void connections(double end) {
    while (now() < end) {
        SOCKET s = connected(SOCK_STREAM);
        while (send(s, data, 16384, 0) == SOCKET_ERROR && now() < end)
            pause_micros(1000);
        send_what_passes(s);
        closesocket(s);
    }
    pause_micros(100000);
}

/* The provider is ended and started again after each socket. What it sends is counted: there are no readers, which would
 * end as well. */
static void restarts(double end) {
    WSADATA started;
    while (now() < end) {
        SOCKET s = connected(SOCK_DGRAM);
        int sent;
        while ((sent = send(s, data, 1400, 0)) > 0)
            received += sent;
        GIVES("closesocket", closesocket(s));
        GIVES("WSACleanup", WSACleanup());
        GIVES("WSAStartup", WSAStartup(MAKEWORD(2, 2), &started));
    }
}

/* One reservation, and write(2) as fast as it goes. */
static void steady(double end) {
    SOCKET s = connected(SOCK_STREAM);
    while (now() < end)
        if (write((int)s, data, 1448) < 0)
            pause_micros(200);
    pause_micros(100000);
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    long bucket_and_rate, class_of, most, came;
    WSADATA started;
    SOCKET listener, datagrams;
    pthread_t thread;
    int length = sizeof peer;
    double begin, end;
    if (unshare(CLONE_NEWNET)) {
        printf("no network namespace: %s\n", strerror(errno));
        return 77;
    }
    alarm(60);
    check("loopback", system("ip link set lo mtu 1500 up"), 0);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &started), 0);
    listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    peer = address("127.0.0.1", 0);
    GIVES("bind", bind(listener, (struct sockaddr *)&peer, sizeof peer));
    GIVES("listen", listen(listener, 100));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&peer, &length));
    datagrams = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    GIVES("bind for datagrams", bind(datagrams, (struct sockaddr *)&peer, sizeof peer));
    if (strcmp(way, "restarts")) {
        pthread_create(&thread, NULL, reader, &listener);
        pthread_create(&thread, NULL, datagram_reader, &datagrams);
    }
    begin = now();
    end = begin + SECONDS;
    if (!strcmp(way, "toggle"))
        toggle(0, end);
    else if (!strcmp(way, "connections"))
        connections(end);
    else if (!strcmp(way, "restarts"))
        restarts(end);
    else if (!strcmp(way, "write"))
        toggle(1, end);
    else
        steady(end);
    came = __atomic_load_n(&received, __ATOMIC_RELAXED);
    /* A busy machine ends late. The class of a flow has the headers of the smallest packets as well: 78 bytes for 64. */
    bucket_and_rate = DEPTH + (long)(RATE * (now() - begin));
    class_of = bucket_and_rate * 78 / 64;
    most = !strcmp(way, "write") || !strcmp(way, "steady") ? class_of : bucket_and_rate;
    /* HTB lets the last packet overdraw the bucket: for a stream, an aggregate. */
    if (!strcmp(way, "steady")) most = class_of + 65536;
    printf("%s: %ld bytes, at most %ld\n", way, came, most);
    check("no more than the bucket and the rate", came <= most, 1);
    check("at least half of the bucket", came >= DEPTH / 2, 1);
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
