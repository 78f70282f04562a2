/* WSAPoll, select and network events, as Windows answers them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <winsock2.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

static SOCKET stream(void) { return socket(AF_INET, SOCK_STREAM, 0); }

static SOCKET listening(struct sockaddr_in *name) {
    SOCKET s = stream();
    int length = sizeof *name;
    *name = address("127.0.0.1", 0);
    GIVES("bind", bind(s, NAME(*name)));
    GIVES("listen", listen(s, 5));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)name, &length));
    return s;
}

/* Both ends of a connection. */
static void pair(SOCKET *client, SOCKET *server) {
    struct sockaddr_in name;
    SOCKET listener = listening(&name);
    *client = stream();
    GIVES("connect", connect(*client, NAME(name)));
    *server = accept(listener, NULL, NULL);
    closesocket(listener);
}

/* An address on which nothing listens. */
static struct sockaddr_in nothing(void) {
    struct sockaddr_in name;
    closesocket(listening(&name));
    return name;
}

static void nonblocking(SOCKET s) {
    u_long on = 1;
    GIVES("FIONBIO", ioctlsocket(s, (int)FIONBIO, &on));
}

static void polled(const char *what, SOCKET s, SHORT events, int count, SHORT found) {
    WSAPOLLFD entry;
    int result;
    entry.fd = s;
    entry.events = events;
    entry.revents = 0x55;
    result = WSAPoll(&entry, 1, found ? 5000 : 0);
    check(what, result, count);
    check("  its events", entry.revents, found);
}

#define ALL_WANTED (POLLRDNORM | POLLRDBAND | POLLWRNORM)

static void flags(void) {
    static const SHORT invalid[] = {POLLERR, POLLHUP, POLLNVAL, 0x8, POLLWRBAND, POLLPRI, 0x800};
    struct sockaddr_in name;
    SOCKET listener = listening(&name);
    WSAPOLLFD two[2];
    unsigned i;
    for (i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        two[0].fd = listener;
        two[0].events = invalid[i];
        FAILS("a flag that can only be found", WSAPoll(two, 1, 0), WSAEINVAL);
    }
    FAILS("nothing to poll", WSAPoll(NULL, 0, 0), WSAEINVAL);
    FAILS("no list", WSAPoll(NULL, 1, 0), WSAEFAULT);
    polled("a listener without connections", listener, ALL_WANTED, 0, 0);
    two[0].fd = listener;
    two[0].events = POLLIN;
    two[1].fd = 0xabacab;
    two[1].events = POLLIN;
    WSASetLastError(99);
    check("a socket and something else", WSAPoll(two, 2, 0), 0);
    check("  the last error", WSAGetLastError(), 0);
    check("  the socket", two[0].revents, 0);
    check("  the other", two[1].revents, POLLNVAL);
    two[0].fd = INVALID_SOCKET;
    two[0].events = POLLERR;
    two[1].events = POLLERR;
    FAILS("no socket at all", WSAPoll(two, 2, 0), WSAENOTSOCK);
    check("  the first", two[0].revents, POLLNVAL);
    check("  the second", two[1].revents, POLLNVAL);
    two[0].fd = listener;
    FAILS("a wrong flag of something else", WSAPoll(two, 2, 0), WSAEINVAL);
    closesocket(listener);
}

static void ends(void) {
    SOCKET client, server;
    struct linger reset = {1, 0};
    char text[8];
    pair(&client, &server);
    polled("connected", server, ALL_WANTED, 1, POLLWRNORM);
    check("send", send(client, "1234", 4, 0), 4);
    polled("data", server, POLLIN, 1, POLLRDNORM);
    check("recv", recv(server, text, sizeof text, 0), 4);
    GIVES("SD_RECEIVE", shutdown(client, SD_RECEIVE));
    polled("its own end of receiving", client, ALL_WANTED, 1, POLLWRNORM);
    GIVES("SD_SEND", shutdown(client, SD_SEND));
    polled("the peer's end", server, 0, 1, POLLHUP);
    polled("with flags", server, ALL_WANTED, 1, POLLWRNORM | POLLHUP);
    closesocket(client);
    check("recv", recv(server, text, sizeof text, 0), 0);
    closesocket(server);
    pair(&client, &server);
    check("send", send(client, "data", 4, 0), 4);
    closesocket(client);
    usleep(50000);
    polled("the end behind data", server, ALL_WANTED, 1, POLLWRNORM | POLLRDNORM | POLLHUP);
    closesocket(server);
    pair(&client, &server);
    GIVES("SO_LINGER", setsockopt(client, SOL_SOCKET, SO_LINGER, (char *)&reset, sizeof reset));
    closesocket(client);
    polled("a reset", server, 0, 1, POLLHUP | POLLERR);
    FAILS("recv after a reset", recv(server, text, sizeof text, 0), WSAECONNRESET);
    FAILS("recv again", recv(server, text, sizeof text, 0), WSAECONNRESET);
    closesocket(server);
}

/* A stream is connected until it is closed: shutdown succeeds after both ends have ended their directions, and a call
 * that fails changes nothing. */
static void shut_down(void) {
    static const int ways[] = {SD_RECEIVE, SD_SEND, SD_BOTH};
    SOCKET client, server;
    struct linger reset = {1, 0};
    char text[8];
    unsigned i;
    for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        pair(&client, &server);
        check("send", send(client, "abc", 3, 0), 3);
        GIVES("the peer's SD_SEND", shutdown(client, SD_SEND));
        polled("its end", server, 0, 1, POLLHUP);
        GIVES("SD_SEND", shutdown(server, SD_SEND));
        check("the peer sees it", recv(client, text, sizeof text, 0), 0);
        GIVES("a shutdown after both", shutdown(client, ways[i]));
        GIVES("the same at this end", shutdown(server, ways[i]));
        check("what was not read", recv(server, text, sizeof text, 0) == SOCKET_ERROR ? WSAGetLastError() : 3,
              ways[i] == SD_SEND ? 3 : WSAESHUTDOWN);
        FAILS("send", send(server, "x", 1, 0), WSAESHUTDOWN);
        closesocket(client), closesocket(server);
    }
    /* The usual end of a connection. */
    pair(&client, &server);
    GIVES("SD_SEND", shutdown(client, SD_SEND));
    check("recv", recv(server, text, sizeof text, 0), 0);
    closesocket(server);
    check("recv until the end", recv(client, text, sizeof text, 0), 0);
    GIVES("SD_BOTH", shutdown(client, SD_BOTH));
    FAILS("recv afterwards", recv(client, text, sizeof text, 0), WSAESHUTDOWN);
    closesocket(client);
    /* Not after a reset, of which the next receive still tells. */
    for (i = 0; i < 2; i++) {
        pair(&client, &server);
        GIVES("SO_LINGER", setsockopt(client, SOL_SOCKET, SO_LINGER, (char *)&reset, sizeof reset));
        closesocket(client);
        polled("a reset", server, 0, 1, POLLHUP | POLLERR);
        if (i == 1)
            FAILS("recv", recv(server, text, sizeof text, 0), WSAECONNRESET);
        FAILS("shutdown after a reset", shutdown(server, SD_BOTH), WSAENOTCONN);
        FAILS("has no effect", recv(server, text, sizeof text, 0), WSAECONNRESET);
        closesocket(server);
    }
    FAILS("shutdown of a new socket", shutdown(client = stream(), SD_BOTH), WSAENOTCONN);
    closesocket(client);
}

static int selected(SOCKET s, int in_read, int in_write, int in_except) {
    fd_set readable, writable, failed;
    struct timeval limit = {5, 0};
    int count;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_ZERO(&failed);
    FD_SET(s, &readable);
    FD_SET(s, &writable);
    FD_SET(s, &failed);
    count = select(0, &readable, &writable, &failed, &limit);
    return count == in_read + in_write + in_except && !FD_ISSET(s, &readable) == !in_read &&
           !FD_ISSET(s, &writable) == !in_write && !FD_ISSET(s, &failed) == !in_except;
}

/* A negative length of the queue is SOMAXCONN_HINT, and not a queue for one. */
static void queues(void) {
    static const int lengths[] = {SOMAXCONN_HINT(4), SOMAXCONN_HINT(300), SOMAXCONN_HINT(1000000), SOMAXCONN};
    unsigned i, k;
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        SOCKET listener = stream(), clients[20];
        struct sockaddr_in name = address("127.0.0.1", 0);
        int length = sizeof name, connected = 0;
        GIVES("bind", bind(listener, NAME(name)));
        GIVES("listen with a hint", listen(listener, lengths[i]));
        GIVES("getsockname", getsockname(listener, (struct sockaddr *)&name, &length));
        for (k = 0; k < sizeof clients / sizeof clients[0]; k++) {
            WSAPOLLFD entry;
            clients[k] = stream();
            nonblocking(clients[k]);
            connect(clients[k], NAME(name));
            entry.fd = clients[k];
            entry.events = POLLWRNORM;
            entry.revents = 0;
            connected += WSAPoll(&entry, 1, 500) == 1 && entry.revents == POLLWRNORM;
        }
        check("connections that wait to be accepted", connected, 20);
        while (k > 0) closesocket(clients[--k]);
        closesocket(listener);
    }
}

static void refusals(void) {
    struct sockaddr_in name = nothing();
    SOCKET s = stream();
    int code = -1, length = sizeof code;
    FAILS("a blocking refusal", connect(s, NAME(name)), WSAECONNREFUSED);
    check("exceptfds alone", selected(s, 0, 0, 1), 1);
    polled("polled", s, ALL_WANTED, 1, POLLWRNORM | POLLHUP | POLLERR);
    GIVES("SO_ERROR", getsockopt(s, SOL_SOCKET, SO_ERROR, (char *)&code, &length));
    check("  none", code, 0);
    closesocket(s);
    s = stream();
    nonblocking(s);
    if (connect(s, NAME(name)) == SOCKET_ERROR && WSAGetLastError() == WSAEWOULDBLOCK) {
        polled("a refusal in the background", s, ALL_WANTED, 1, POLLWRNORM | POLLHUP | POLLERR);
        check("exceptfds alone", selected(s, 0, 0, 1), 1);
        GIVES("SO_ERROR", getsockopt(s, SOL_SOCKET, SO_ERROR, (char *)&code, &length));
        check("  the refusal", code, WSAECONNREFUSED);
    }
    closesocket(s);
}

/* The events that are recorded now, within a limit where some are wanted. */
static int recorded(SOCKET s, WSAEVENT event, int wanted, WSANETWORKEVENTS *found) {
    memset(found, 0x55, sizeof *found);
    WSAWaitForMultipleEvents(1, &event, FALSE, wanted ? 5000 : 50, FALSE);
    GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(s, event, found));
    return found->lNetworkEvents;
}

#define STREAM_EVENTS (FD_ACCEPT | FD_CLOSE | FD_CONNECT | FD_OOB | FD_READ | FD_WRITE)

static void events(void) {
    struct sockaddr_in name;
    SOCKET listener = listening(&name), client = stream(), server;
    WSAEVENT event = WSACreateEvent();
    WSANETWORKEVENTS found;
    struct linger reset = {1, 0};
    char text[8];
    int both = FD_CONNECT | FD_WRITE, now = 0, round;
    GIVES("connect", connect(client, NAME(name)));
    server = accept(listener, NULL, NULL);
    GIVES("after the connection", WSAEventSelect(client, event, STREAM_EVENTS));
    check("both are recorded", recorded(client, event, both, &found), both);
    check("  FD_CONNECT's code", found.iErrorCode[FD_CONNECT_BIT], 0);
    check("  another code is left alone", found.iErrorCode[FD_READ_BIT], 0x55555555);
    GIVES("the same mask", WSAEventSelect(client, event, STREAM_EVENTS));
    check("nothing is repeated", recorded(client, event, 0, &found), 0);
    GIVES("none", WSAEventSelect(client, event, 0));
    GIVES("the same mask", WSAEventSelect(client, event, STREAM_EVENTS));
    check("nothing is repeated", recorded(client, event, 0, &found), 0);
    check("send", send(server, "data", 4, 0), 4);
    check("FD_READ", recorded(client, event, FD_READ, &found), FD_READ);
    GIVES("without FD_READ", WSAEventSelect(client, event, FD_CLOSE));
    check("recv", recv(client, text, 2, 0), 2);
    GIVES("with FD_READ", WSAEventSelect(client, event, FD_READ | FD_CLOSE));
    check("FD_READ for the rest", recorded(client, event, FD_READ, &found), FD_READ);
    GIVES("SO_LINGER", setsockopt(server, SOL_SOCKET, SO_LINGER, (char *)&reset, sizeof reset));
    check("recv", recv(client, text, 2, 0), 2);
    closesocket(server);
    check("FD_CLOSE", recorded(client, event, FD_CLOSE, &found), FD_CLOSE);
    check("  its code", found.iErrorCode[FD_CLOSE_BIT], WSAECONNRESET);
    FAILS("recv after the reset", recv(client, text, 2, 0), WSAECONNRESET);
    closesocket(client);
    client = stream();
    GIVES("without FD_CONNECT", WSAEventSelect(client, event, FD_WRITE));
    if (connect(client, NAME(name)) == SOCKET_ERROR) check("not at once", WSAGetLastError(), WSAEWOULDBLOCK);
    check("FD_WRITE", recorded(client, event, FD_WRITE, &found), FD_WRITE);
    GIVES("with FD_CONNECT", WSAEventSelect(client, event, FD_WRITE | FD_CONNECT));
    check("FD_CONNECT", recorded(client, event, FD_CONNECT, &found), FD_CONNECT);
    closesocket(client);
    closesocket(listener);
    /* Each attempt has its event. */
    name = nothing();
    client = stream();
    GIVES("FD_CONNECT", WSAEventSelect(client, event, FD_CONNECT));
    for (round = 0; round < 2; round++) {
        WSAResetEvent(event);
        if (connect(client, NAME(name)) == SOCKET_ERROR && WSAGetLastError() == WSAEWOULDBLOCK) {
            check("FD_CONNECT", recorded(client, event, FD_CONNECT, &found), FD_CONNECT);
            check("  refused", found.iErrorCode[FD_CONNECT_BIT], WSAECONNREFUSED);
        } else {
            now++;
        }
    }
    check("refused at once", now, 0);
    closesocket(client);
    WSACloseEvent(event);
}

static void datagrams(void) {
    struct sockaddr_in name = address("127.0.0.1", 0), local, none;
    SOCKET one = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
    WSAEVENT event = WSACreateEvent();
    WSANETWORKEVENTS found;
    int length = sizeof name, both = FD_CONNECT | FD_WRITE;
    char text[8];
    GIVES("bind", bind(other, NAME(name)));
    GIVES("getsockname", getsockname(other, (struct sockaddr *)&name, &length));
    GIVES("WSAEventSelect", WSAEventSelect(one, event, FD_CONNECT | FD_READ | FD_WRITE));
    check("nothing without an address", recorded(one, event, 0, &found), 0);
    GIVES("connect", connect(one, NAME(name)));
    check("both with the peer", recorded(one, event, both, &found), both);
    check("nothing again", recorded(one, event, 0, &found), 0);
    length = sizeof local;
    GIVES("getsockname", getsockname(one, (struct sockaddr *)&local, &length));
    check("sendto", sendto(other, "late", 4, 0, NAME(local)), 4);
    usleep(20000);
    memset(&none, 0, sizeof none);
    none.sin_family = AF_INET;
    GIVES("without a peer", connect(one, NAME(none)));
    length = sizeof none;
    GIVES("getsockname", getsockname(one, (struct sockaddr *)&none, &length));
    check("the address is kept", none.sin_addr.s_addr == local.sin_addr.s_addr && none.sin_port == local.sin_port, 1);
    length = sizeof none;
    FAILS("the queue is empty", recvfrom(one, text, sizeof text, 0, (struct sockaddr *)&none, &length), WSAEWOULDBLOCK);
    check("no event is left", recorded(one, event, 0, &found), 0);
    check("sendto", sendto(other, "new", 3, 0, NAME(local)), 3);
    check("FD_READ", recorded(one, event, FD_READ, &found), FD_READ);
    check("recvfrom", recvfrom(one, text, sizeof text, 0, (struct sockaddr *)&none, &length), 3);
    closesocket(one);
    closesocket(other);
    WSACloseEvent(event);
}

static void last_errors(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    int length = sizeof name;
    WSASetLastError(99);
    check("bind", bind(s, NAME(name)), 0);
    check("  the last error", WSAGetLastError(), 0);
    WSASetLastError(99);
    check("getsockname", getsockname(s, (struct sockaddr *)&name, &length), 0);
    check("  the last error", WSAGetLastError(), 0);
    WSASetLastError(99);
    check("sendto", sendto(s, "x", 1, 0, NAME(name)), 1);
    check("  the last error", WSAGetLastError(), 0);
    WSASetLastError(99);
    check("closesocket", closesocket(s), 0);
    check("  keeps it", WSAGetLastError(), 99);
}

int main(void) {
    WSADATA data;
    alarm(60);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    flags();
    ends();
    shut_down();
    queues();
    refusals();
    events();
    datagrams();
    last_errors();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
