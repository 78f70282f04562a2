/* A layered provider: it defines WSPStartup and WSPConnect and reaches the base provider's through the table of
 * procedures. Compiles as C and as C++. */
#include <stdio.h>
#include <string.h>
#include <Ws2spi.h>
#include <Ws2tcpip.h>
#include "check.h"

static WSPPROC_TABLE base;
static int connections, refusals;

/* Counts the connections that pass through this layer. */
int WSPAPI WSPConnect(SOCKET s, const struct sockaddr FAR *name, int namelen, LPWSABUF lpCallerData,
                      LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno) {
    int result = base.lpWSPConnect(s, name, namelen, lpCallerData, lpCalleeData, lpSQOS, lpGQOS, lpErrno);
    connections++;
    if (result == SOCKET_ERROR && *lpErrno == WSAEOPNOTSUPP)
        refusals++;
    return result;
}

int WSPAPI WSPStartup(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                      WSPUPCALLTABLE UpcallTable, LPWSPPROC_TABLE lpProcTable) {
    int result = gqos_WSPStartup(wVersionRequested, lpWSPData, lpProtocolInfo, &base);
    (void)UpcallTable;
    *lpProcTable = base;
    lpProcTable->lpWSPConnect = WSPConnect;
    return result;
}

/* Connects through the layer, with so many bytes per second. Returns 0 or the error. */
static int connect_with(WSPPROC_TABLE *table, const struct sockaddr_in *peer, DWORD rate) {
    QOS qos = guaranteed(rate, 20000);
    int error = 0, closing = 0, result;
    SOCKET s = table->lpWSPSocket(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED, &error);
    check("WSPSocket", s != INVALID_SOCKET, 1);
    result = table->lpWSPConnect(s, (const struct sockaddr *)peer, sizeof *peer, NULL, NULL, &qos, NULL, &error);
    table->lpWSPCloseSocket(s, &closing);
    return result == SOCKET_ERROR ? error : 0;
}

int main(void) {
    WSPDATA data;
    WSPPROC_TABLE table;
    WSPUPCALLTABLE upcalls;
    LPWSPSTARTUP start = WSPStartup;
    LPWSPCONNECT own = WSPConnect;
    WSADATA wsadata;
    SOCKET listener;
    struct sockaddr_in peer = address("127.0.0.1", 0);
    int length = sizeof peer;

    memset(&upcalls, 0, sizeof upcalls);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &wsadata), 0);
    check("WSPStartup of the layer", start(MAKEWORD(2, 2), &data, NULL, upcalls, &table), 0);
    check("the base's WSPConnect is not the layer's", base.lpWSPConnect != own, 1);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    GIVES("bind", bind(listener, (struct sockaddr *)&peer, sizeof peer));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&peer, &length));
    GIVES("listen", listen(listener, 5));
    check("a flow that fits", connect_with(&table, &peer, 100000), 0);
    check("a flow that does not", connect_with(&table, &peer, 100000000), WSAEOPNOTSUPP);
    check("connections through the layer", connections, 2);
    check("refusals that the layer saw", refusals, 1);
    GIVES("WSAConnect passes the layer by", WSAConnect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&peer,
                                                       sizeof peer, NULL, NULL, NULL, NULL));
    check("connections through the layer", connections, 2);
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
