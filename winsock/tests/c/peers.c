/* What a program sees when its peer accepts no data, and when nothing is heard of it: both ends have a network namespace
 * of their own. Ends with 77 where there are none. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include <qossp.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)
#define WAIT_MILLISECONDS 15000

/* A port whose server reads what comes, and one whose server never reads. */
#define READER 5000
#define MUTE 5001

static pid_t server;

static void run(const char *command) { check(command, system(command), 0); }

/* Runs a command in the peer's namespace. */
static void at_peer(const char *command) {
    char line[200];
    snprintf(line, sizeof line, "nsenter -t %d -n %s", (int)server, command);
    check(command, system(line), 0);
}

static SOCKET stream(void) { return socket(AF_INET, SOCK_STREAM, 0); }

static void *serve(void *port) {
    struct sockaddr_in name = address("10.8.0.2", (unsigned short)(intptr_t)port);
    SOCKET listener = stream();
    int small = 4096;
    static char data[65536];
    if ((intptr_t)port == MUTE) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, (char *)&small, sizeof small);
    if (bind(listener, NAME(name)) || listen(listener, 5)) exit(1);
    for (;;) {
        SOCKET s = accept(listener, NULL, NULL);
        while ((intptr_t)port == READER && recv(s, data, sizeof data, 0) > 0) {}
    }
}

/* The peer, in a process and a namespace of its own; it says so by a byte, and goes on after one. */
static void be_the_peer(int from, int to) {
    WSADATA data;
    pthread_t thread;
    char byte = 'p';
    if (unshare(CLONE_NEWNET)) exit(77);
    if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) exit(1);
    if (system("ip addr add 10.8.0.2/24 dev gq1 && ip link set gq1 up && ip link set lo up")) exit(1);
    unsetenv("GQOS_POLICY");
    if (WSAStartup(MAKEWORD(2, 2), &data)) exit(1);
    pthread_create(&thread, NULL, serve, (void *)(intptr_t)MUTE);
    pthread_create(&thread, NULL, serve, (void *)(intptr_t)READER);
    sleep(1);
    if (write(to, &byte, 1) != 1) exit(1);
    for (;;) pause();
}

static void end_the_peer(void) { kill(server, SIGKILL); }

/* Sends as much as the socket takes until an event of the mask has been recorded. */
static WSANETWORKEVENTS send_until(SOCKET s, WSAEVENT event, long mask) {
    static char data[4096];
    WSANETWORKEVENTS events;
    ULONGLONG start = GetTickCount64();
    memset(&events, 0, sizeof events);
    do {
        while (send(s, data, sizeof data, 0) > 0) {}
        WSAWaitForMultipleEvents(1, &event, FALSE, 200, FALSE);
        WSAEnumNetworkEvents(s, event, &events);
    } while (!(events.lNetworkEvents & mask) && GetTickCount64() - start < WAIT_MILLISECONDS);
    return events;
}

/* The oldest status that SIO_GET_QOS has not told yet. */
static int status_of(SOCKET s) {
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } got;
    DWORD size = 0;
    memset(&got, 0, sizeof got);
    GIVES("SIO_GET_QOS", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    return (int)got.status.StatusCode;
}

static SOCKET reserved(unsigned short port, QOS *qos, WSAEVENT event) {
    struct sockaddr_in peer = address("10.8.0.2", port);
    SOCKET s = stream();
    GIVES("a connection with QOS", WSAConnect(s, NAME(peer), NULL, NULL, qos, NULL));
    if (event != WSA_INVALID_EVENT)
        GIVES("WSAEventSelect", WSAEventSelect(s, event, FD_QOS | FD_READ | FD_WRITE | FD_CLOSE));
    return s;
}

/* The peer accepts no data: the reservation ends, the connection goes on as best effort. */
static void stalled(void) {
    struct sockaddr_in peer = address("10.8.0.2", READER);
    WSAEVENT event = WSACreateEvent();
    QOS most = guaranteed(600000, 60000);
    SOCKET s = reserved(MUTE, &most, event), other = stream();
    WSANETWORKEVENTS events;
    DWORD size = 0;
    char byte = 0;
    FAILS("its capacity is taken", WSAConnect(other, NAME(peer), NULL, NULL, &most, NULL), WSAEOPNOTSUPP);
    events = send_until(s, event, FD_QOS | FD_CLOSE);
    check("FD_QOS", events.lNetworkEvents & (FD_QOS | FD_CLOSE), FD_QOS);
    check("its code", events.iErrorCode[FD_QOS_BIT], WSA_QOS_NO_RECEIVERS);
    check("its status", status_of(s), WSA_QOS_NO_RECEIVERS);
    while (send(s, &byte, 1, 0) == 1) {}
    check("send waits", WSAGetLastError(), WSAEWOULDBLOCK);
    FAILS("so does recv", recv(s, &byte, 1, 0), WSAEWOULDBLOCK);
    GIVES("its capacity is free", WSAConnect(other, NAME(peer), NULL, NULL, &most, NULL));
    FAILS("until another has it", WSAIoctl(s, SIO_SET_QOS, &most, sizeof most, NULL, 0, &size, NULL, NULL), WSAEOPNOTSUPP);
    closesocket(s), closesocket(other), WSACloseEvent(event);
}

struct waiting {
    SOCKET s;
    int code;
};

static void *receive(void *argument) {
    struct waiting *waiting = (struct waiting *)argument;
    char byte;
    waiting->code = recv(waiting->s, &byte, 1, 0) == SOCKET_ERROR ? WSAGetLastError() : 0;
    return NULL;
}

/* Nothing is heard of the peer: the reservation ends with the connection, whether it sends or waits. */
static void dead(void) {
    struct sockaddr_in peer = address("10.8.0.2", READER);
    WSAEVENT event = WSACreateEvent();
    QOS half = guaranteed(300000, 30000), most = guaranteed(600000, 60000);
    SOCKET s = reserved(READER, &half, event), other = stream();
    WSANETWORKEVENTS events;
    struct waiting waiting;
    pthread_t thread;
    int seen, tries = 0;
    char byte = 0;
    waiting.s = reserved(READER, &half, WSA_INVALID_EVENT);
    pthread_create(&thread, NULL, receive, &waiting);
    send_until(s, event, FD_WRITE);
    at_peer("ip route add blackhole 10.8.0.1");
    events = send_until(s, event, FD_QOS | FD_CLOSE);
    seen = (int)events.lNetworkEvents;
    if (!(seen & FD_CLOSE)) {
        check("FD_QOS first", events.iErrorCode[FD_QOS_BIT], WSA_QOS_NO_RECEIVERS);
        events = send_until(s, event, FD_CLOSE);
        seen |= (int)events.lNetworkEvents;
    }
    check("FD_CLOSE", events.iErrorCode[FD_CLOSE_BIT], WSAETIMEDOUT);
    if (!(seen & FD_QOS)) {
        events = send_until(s, event, FD_QOS);
        seen |= (int)events.lNetworkEvents;
        check("FD_QOS after", events.iErrorCode[FD_QOS_BIT], WSA_QOS_NO_RECEIVERS);
    }
    check("both were recorded", seen & (FD_QOS | FD_CLOSE), FD_QOS | FD_CLOSE);
    check("the status", status_of(s), WSA_QOS_NO_RECEIVERS);
    FAILS("send after FD_CLOSE", send(s, &byte, 1, 0), WSAECONNRESET);
    FAILS("recv after FD_CLOSE", recv(s, &byte, 1, 0), WSAETIMEDOUT);
    pthread_join(thread, NULL);
    check("the blocking call of the other connection", waiting.code, WSAETIMEDOUT);
    FAILS("recv after that", recv(waiting.s, &byte, 1, 0), WSAETIMEDOUT);
    FAILS("send after that", send(waiting.s, &byte, 1, 0), WSAECONNRESET);
    at_peer("ip route del blackhole 10.8.0.1");
    while (WSAConnect(other, NAME(peer), NULL, NULL, &most, NULL) == SOCKET_ERROR && tries++ < 50) usleep(100000);
    check("what both held is free", tries < 50, 1);
    closesocket(s), closesocket(waiting.s), closesocket(other), WSACloseEvent(event);
}

/* A datagram socket that sends nothing has lost its reservation, and sends all the same. */
static void silent(void) {
    struct sockaddr_in peer = address("10.8.0.2", READER);
    WSAEVENT event = WSACreateEvent();
    WSANETWORKEVENTS events;
    QOS qos = guaranteed(100000, 10000);
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    GIVES("a datagram socket with QOS", WSAConnect(s, NAME(peer), NULL, NULL, &qos, NULL));
    GIVES("WSAEventSelect", WSAEventSelect(s, event, FD_QOS | FD_CLOSE));
    check("FD_QOS in time", (int)WSAWaitForMultipleEvents(1, &event, FALSE, WAIT_MILLISECONDS, FALSE), WSA_WAIT_EVENT_0);
    GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(s, event, &events));
    check("FD_QOS", events.lNetworkEvents, FD_QOS);
    check("its code", events.iErrorCode[FD_QOS_BIT], WSA_QOS_NO_RECEIVERS);
    check("send", send(s, "hello", 5, 0), 5);
    closesocket(s), WSACloseEvent(event);
}

int main(void) {
    WSADATA data;
    int there[2], back[2];
    char byte, line[100];
    if (unshare(CLONE_NEWNET) || pipe(there) || pipe(back)) {
        printf("no network namespace: %s\n", strerror(errno));
        return 77;
    }
    alarm(120);
    server = fork();
    if (server == 0) be_the_peer(there[0], back[1]);
    atexit(end_the_peer);
    if (read(back[0], &byte, 1) != 1) return 77;
    run("ip link add gq0 type veth peer name gq1 && ip addr add 10.8.0.1/24 dev gq0 && ip link set gq0 up");
    snprintf(line, sizeof line, "ip link set gq1 netns %d", (int)server);
    run(line);
    check("the peer goes on", (int)write(there[1], "g", 1), 1);
    check("the peer listens", (int)read(back[0], &byte, 1), 1);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    stalled();
    dead();
    silent();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
