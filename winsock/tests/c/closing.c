/* Closing: the port is free and the number is no socket once closesocket has returned, whatever watched the socket. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <winsock2.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

static SOCKET bound(struct sockaddr_in *name) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    int length = sizeof *name;
    *name = address("127.0.0.1", 0);
    if (bind(s, NAME(*name)) || getsockname(s, (struct sockaddr *)name, &length)) check("bind", WSAGetLastError(), 0);
    return s;
}

static int is_free(struct sockaddr_in *name) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    int result = bind(s, NAME(*name));
    closesocket(s);
    return result == 0;
}

static void ports(void) {
    WSAEVENT event = WSACreateEvent();
    int round, selected = 0, overlapped_free = 0, status_free = 0;
    for (round = 0; round < 100; round++) {
        struct sockaddr_in name;
        SOCKET s = bound(&name);
        WSAEventSelect(s, event, FD_READ | FD_WRITE | FD_CLOSE);
        closesocket(s);
        selected += is_free(&name);
    }
    check("ports free after WSAEventSelect", selected, 100);
    for (round = 0; round < 100; round++) {
        struct sockaddr_in name;
        SOCKET s = bound(&name);
        WSAOVERLAPPED overlapped;
        WSABUF buffer;
        char text[16];
        DWORD flags = 0, moved = 0;
        memset(&overlapped, 0, sizeof overlapped);
        buffer.buf = text;
        buffer.len = sizeof text;
        WSARecv(s, &buffer, 1, NULL, &flags, &overlapped, NULL);
        if (round % 2) usleep(1000);
        closesocket(s);
        overlapped_free += is_free(&name);
        WSAGetOverlappedResult(s, &overlapped, &moved, TRUE, &flags);
    }
    check("ports free after an overlapped WSARecv", overlapped_free, 100);
    for (round = 0; round < 100; round++) {
        struct sockaddr_in name;
        SOCKET s = bound(&name);
        WSAOVERLAPPED overlapped;
        QOS qos;
        DWORD size = 0, flags = 0;
        memset(&overlapped, 0, sizeof overlapped);
        WSAIoctl(s, SIO_GET_QOS, NULL, 0, &qos, sizeof qos, &size, &overlapped, NULL);
        closesocket(s);
        status_free += is_free(&name);
        /* The operation writes to the structure until it has ended. */
        WSAGetOverlappedResult(s, &overlapped, &size, TRUE, &flags);
    }
    check("ports free after an overlapped SIO_GET_QOS", status_free, 100);
    WSACloseEvent(event);
}

/* What a program does to a number by close(2). */
static void numbers(void) {
    struct sockaddr_in name, other;
    SOCKET s = bound(&name), next;
    char text[8];
    int file;
    close((int)s);
    FAILS("closed by close(2)", send(s, "x", 1, 0), WSAENOTSOCK);
    s = bound(&name);
    close((int)s);
    file = open("/dev/null", O_WRONLY);
    check("a file of the same number", file, (int)s);
    FAILS("is no socket", sendto(s, "x", 1, 0, NAME(name)), WSAENOTSOCK);
    FAILS("and is not closed", closesocket(s), WSAENOTSOCK);
    check("it is open", (int)write(file, "x", 1), 1);
    close(file);
    s = bound(&name);
    close((int)s);
    next = bound(&other);
    check("a socket of the same number", next == s, 1);
    check("sends", sendto(next, "hello", 5, 0, NAME(other)), 5);
    check("and receives", recv(next, text, sizeof text, 0), 5);
    GIVES("and is closed", closesocket(next));
    FAILS("once", closesocket(next), WSAENOTSOCK);
    check("its port is free", is_free(&other), 1);
}

/* A connection that is closed, with and without data on its way. */
static void connections(void) {
    struct sockaddr_in name = address("127.0.0.1", 0), any = name, local;
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0), s, server, again;
    int length = sizeof name, round;
    WSAEVENT event = WSACreateEvent();
    GIVES("bind", bind(listener, NAME(name)));
    GIVES("listen", listen(listener, 5));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&name, &length));
    for (round = 0; round < 3; round++) {
        s = socket(AF_INET, SOCK_STREAM, 0);
        /* A port that connect chooses may be that of another program's connection as well. */
        GIVES("bind to a port of its own", bind(s, NAME(any)));
        GIVES("connect", connect(s, NAME(name)));
        server = accept(listener, NULL, NULL);
        if (round) GIVES("WSAEventSelect", WSAEventSelect(s, event, FD_READ | FD_WRITE | FD_CLOSE));
        if (round == 2) check("send", send(s, "data", 4, 0), 4);
        length = sizeof local;
        GIVES("its address", getsockname(s, (struct sockaddr *)&local, &length));
        GIVES("closesocket", closesocket(s));
        again = socket(AF_INET, SOCK_STREAM, 0);
        GIVES("the port again", bind(again, NAME(local)));
        closesocket(again);
        closesocket(server);
    }
    GIVES("the listener", WSAEventSelect(listener, event, FD_ACCEPT));
    GIVES("closesocket", closesocket(listener));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    GIVES("its port again", bind(listener, NAME(name)));
    GIVES("to listen", listen(listener, 5));
    closesocket(listener);
    WSACloseEvent(event);
}

int main(void) {
    WSADATA data;
    alarm(60);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    ports();
    numbers();
    connections();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
