/* The base provider by the names of the service provider interface, called and as pointers; with the C library's poll
 * and the headers in the spellings that programs use. Compiles as C and as C++. */
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <Windows.h>
#include <WinSock2.h>
#include <winsock.h>
#include <Ws2spi.h>
#include <WS2tcpip.h>
#include <Mswsock.h>
#include <Qos.h>
#include <QosSp.h>
#include <sys/poll.h>
#include <sys/select.h>
#include "check.h"

int main(void) {
    WSPDATA data;
    WSPPROC_TABLE table;
    WSPUPCALLTABLE upcalls;
    LPWSPSTARTUP start = WSPStartup;
    LPWSPCONNECT connector = WSPConnect;
    void *addresses[2];
    struct sockaddr_in name = address("127.0.0.1", 0);
    struct fd_set readable;
    fd_set *same = &readable;
    struct timeval none = {0, 0};
    struct pollfd polled;
    SOCKET s;
    int error = 0, length = sizeof name;

    memset(&upcalls, 0, sizeof upcalls);
    addresses[0] = (void *)WSPStartup, addresses[1] = (void *)WSPConnect;
    check("their addresses", addresses[0] == (void *)start && addresses[1] == (void *)connector, 1);
    check("WSPStartup", WSPStartup(MAKEWORD(2, 2), &data, NULL, upcalls, &table), 0);
    check("WSPStartup by a pointer", start(MAKEWORD(2, 2), &data, NULL, upcalls, &table), 0);
    check("WSPConnect", WSPConnect((SOCKET)12345, (struct sockaddr *)&name, sizeof name, NULL, NULL, NULL, NULL, &error),
          SOCKET_ERROR);
    check("its error", error, WSAENOTSOCK);
    error = 0;
    check("WSPConnect by a pointer",
          connector((SOCKET)12345, (struct sockaddr *)&name, sizeof name, NULL, NULL, NULL, NULL, &error), SOCKET_ERROR);
    check("its error", error, WSAENOTSOCK);

    s = socket(AF_INET, SOCK_DGRAM, 0);
    GIVES("bind", bind(s, (struct sockaddr *)&name, sizeof name));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)&name, &length));
    FD_ZERO(&readable);
    FD_SET(s, same);
    check("select before there is data", select(0, same, NULL, NULL, &none), 0);
    polled.fd = s;
    polled.events = POLLIN | POLLOUT;
    check("poll before there is data", poll(&polled, 1, 0), 1);
    check("its events", polled.revents, POLLOUT);
    check("sendto", sendto(s, "x", 1, 0, (struct sockaddr *)&name, sizeof name), 1);
    FD_SET(s, same);
    check("select", select(0, same, NULL, NULL, &none), 1);
    check("FD_ISSET", FD_ISSET(s, same) != 0, 1);
    polled.events = POLLRDNORM;
    check("poll", poll(&polled, 1, 0), 1);
    check("its events", polled.revents, POLLRDNORM);
    check("WSAPoll", WSAPoll(&polled, 1, 0), 1);
    check("its events", polled.revents, POLLRDNORM);
    closesocket(s);
    table.lpWSPCleanup(&error);
    table.lpWSPCleanup(&error);
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
