/* Failures are reported: no descriptors, invalid pointers, a child after fork; and queries of a size. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include <qossp.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)
#define NOWHERE(type) ((type *)(uintptr_t)8)

/* WSAEMFILE or WSAENOBUFS. */
static int lacks_descriptors(int result) {
    return result == SOCKET_ERROR && (WSAGetLastError() == WSAEMFILE || WSAGetLastError() == WSAENOBUFS);
}

/* A start without descriptors fails, and the next one does not for that. */
static void start(void) {
    struct rlimit before, few;
    WSADATA data;
    int fd = dup(0), left;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    close(fd);
    for (left = 0; left < 4; left++) {
        few.rlim_cur = (rlim_t)(fd + left);
        setrlimit(RLIMIT_NOFILE, &few);
        check("WSAStartup without descriptors", WSAStartup(MAKEWORD(2, 2), &data), WSASYSNOTREADY);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
}

static void descriptors(void) {
    SOCKET datagram = socket(AF_INET, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
    WSAEVENT event = WSACreateEvent();
    struct rlimit before, few;
    int fd = dup(0);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)fd;
    close(fd);
    setrlimit(RLIMIT_NOFILE, &few);
    check("a datagram socket cannot be watched", lacks_descriptors(WSAEventSelect(datagram, event, FD_READ)), 1);
    check("nor a stream", lacks_descriptors(WSAEventSelect(stream, event, FD_CONNECT)), 1);
    check("no socket", lacks_descriptors(socket(AF_INET, SOCK_DGRAM, 0) == INVALID_SOCKET ? SOCKET_ERROR : 0), 1);
    check("no event", WSACreateEvent() == WSA_INVALID_EVENT, 1);
    setrlimit(RLIMIT_NOFILE, &before);
    GIVES("with descriptors", WSAEventSelect(datagram, event, FD_READ));
    GIVES("with descriptors", WSAEventSelect(stream, event, FD_CONNECT));
    closesocket(datagram);
    closesocket(stream);
    WSACloseEvent(event);
}

static void pointers(void) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    USHORT half = 0;
    ULONG whole = 0;
    FAILS("WSAHtons to NULL", WSAHtons(s, 80, NULL), WSAEFAULT);
    FAILS("WSAHtons to nowhere", WSAHtons(s, 80, NOWHERE(USHORT)), WSAEFAULT);
    FAILS("WSANtohs", WSANtohs(s, 80, NOWHERE(USHORT)), WSAEFAULT);
    FAILS("WSAHtonl", WSAHtonl(s, 80, NOWHERE(ULONG)), WSAEFAULT);
    FAILS("WSANtohl", WSANtohl(s, 80, NOWHERE(ULONG)), WSAEFAULT);
    FAILS("no socket", WSAHtons(INVALID_SOCKET, 80, &half), WSAENOTSOCK);
    GIVES("WSAHtons", WSAHtons(s, 80, &half));
    check("  in the network's order", half == htons(80), 1);
    GIVES("WSAHtonl", WSAHtonl(s, 0x01020304, &whole));
    check("  in the network's order", whole == htonl(0x01020304), 1);
    GIVES("WSANtohl", WSANtohl(s, whole, &whole));
    check("  and back", (int)whole, 0x01020304);
    closesocket(s);
}

static void sizes(void) {
    SOCKET s = socket(AF_INET, SOCK_STREAM, 0);
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } whole;
    QOS qos = guaranteed(10000, 10000);
    DWORD needed = 0, inside = 0;
    char object[8] = {0};
    FAILS("a query of the size", WSAIoctl(s, SIO_GET_QOS, NULL, 0, NULL, 0, &needed, NULL, NULL), WSAENOBUFS);
    check("  the size", needed >= sizeof qos && needed <= sizeof whole, 1);
    needed = 0;
    FAILS("by a number", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &inside, sizeof inside, &needed, NULL, NULL), WSAENOBUFS);
    check("  the size", needed >= sizeof qos && inside == needed, 1);
    GIVES("with that size", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &whole, needed, &needed, NULL, NULL));
    FAILS("too short", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &whole, 40, &needed, NULL, NULL), WSAEFAULT);
    needed = 0;
    FAILS("of a group", WSAIoctl(s, SIO_GET_GROUP_QOS, NULL, 0, NULL, 0, &needed, NULL, NULL), WSAENOBUFS);
    check("  the size", (int)needed, (int)sizeof qos);
    qos.ProviderSpecific.buf = object;
    qos.ProviderSpecific.len = 4;
    FAILS("an object without a header", WSAIoctl(s, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &needed, NULL, NULL), WSAEFAULT);
    qos.ProviderSpecific.len = 1;
    FAILS("nor one byte", WSAIoctl(s, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &needed, NULL, NULL), WSAEFAULT);
    qos.ProviderSpecific.len = 0;
    GIVES("none", WSAIoctl(s, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &needed, NULL, NULL));
    closesocket(s);
}

static void codecs(void) {
    static const char *const names[] = {"G711", "g711", "g723.1", "Gsm6.10", "h263qcif", "H261cif"};
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    QOS qos;
    WSABUF name;
    unsigned i;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        name.buf = (char *)(uintptr_t)names[i];
        name.len = (ULONG)strlen(names[i]) + 1;
        check(names[i], WSAGetQOSByName(s, &name, &qos), TRUE);
    }
    closesocket(s);
}

/* A child after fork has to start the provider itself, and ends only what is its own. */
static void children(void) {
    WSADATA data;
    pid_t child;
    int status = -1;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        int right = WSACleanup() == SOCKET_ERROR && WSAGetLastError() == WSANOTINITIALISED;
        right = right && WSAStartup(MAKEWORD(2, 2), &data) == 0 && WSACleanup() == 0;
        right = right && WSACleanup() == SOCKET_ERROR && WSAGetLastError() == WSANOTINITIALISED;
        _exit(right ? 0 : 1);
    }
    check("the child ends", waitpid(child, &status, 0) == child && WIFEXITED(status), 1);
    check("  as it should", WEXITSTATUS(status), 0);
    fflush(stdout);
    child = fork();
    if (child == 0) exit(WSACleanup() == SOCKET_ERROR ? 0 : 1);
    check("a child that exits", waitpid(child, &status, 0) == child && WIFEXITED(status), 1);
    check("  as it should", WEXITSTATUS(status), 0);
}

/* Whether a program that is executed has a descriptor. */
static int inherited(SOCKET s) {
    char command[64];
    sprintf(command, "test -e /proc/self/fd/%d", (int)s);
    fflush(stdout);
    return system(command) == 0;
}

static void inheritance(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET plain = socket(AF_INET, SOCK_STREAM, 0), client, server;
    SOCKET own = WSASocket(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    SOCKET shared = WSASocket(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    int length = sizeof name;
    check("socket", inherited(plain), 1);
    check("WSASocket", inherited(shared), 1);
    check("WSA_FLAG_NO_HANDLE_INHERIT", inherited(own), 0);
    GIVES("bind", bind(own, NAME(name)));
    GIVES("listen", listen(own, 1));
    GIVES("getsockname", getsockname(own, (struct sockaddr *)&name, &length));
    client = socket(AF_INET, SOCK_STREAM, 0);
    GIVES("connect", connect(client, NAME(name)));
    server = accept(own, NULL, NULL);
    check("an accepted socket is as its listener", inherited(server), 0);
    closesocket(plain), closesocket(own), closesocket(shared), closesocket(client), closesocket(server);
}

/* A SOCKET has no duplicate, in this process or in another. dup(2) gives a descriptor, which is no SOCKET. */
static void duplicates(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0), plain = socket(AF_INET, SOCK_STREAM, 0),
           reserved = socket(AF_INET, SOCK_STREAM, 0), server;
    QOS qos = guaranteed(100000, 10000);
    WSAPROTOCOL_INFOA info;
    int length = sizeof name, copy;
    char byte = 0;
    GIVES("bind", bind(listener, NAME(name)));
    GIVES("listen", listen(listener, 2));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&name, &length));
    GIVES("connect", connect(plain, NAME(name)));
    server = accept(listener, NULL, NULL);
    GIVES("a connection with QOS", WSAConnect(reserved, NAME(name), NULL, NULL, &qos, NULL));
    FAILS("WSADuplicateSocket", WSADuplicateSocketA(plain, (DWORD)getpid(), &info), WSAEOPNOTSUPP);
    FAILS("  for another process", WSADuplicateSocketA(plain, (DWORD)getppid(), &info), WSAEOPNOTSUPP);
    FAILS("  of a reserved socket", WSADuplicateSocketA(reserved, (DWORD)getpid(), &info), WSAEINVAL);
    FAILS("  of no socket", WSADuplicateSocketA(INVALID_SOCKET, (DWORD)getpid(), &info), WSAENOTSOCK);
    copy = dup((int)plain);
    check("write to dup(2)", (int)write(copy, "d", 1), 1);
    check("arrives", recv(server, &byte, 1, 0), 1);
    FAILS("which is no SOCKET", send((SOCKET)copy, &byte, 1, 0), WSAENOTSOCK);
    close(copy);
    closesocket(listener), closesocket(plain), closesocket(reserved), closesocket(server);
}

int main(void) {
    alarm(60);
    start();
    descriptors();
    pointers();
    sizes();
    codecs();
    children();
    inheritance();
    duplicates();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
