/* A layered provider: it defines WSPStartup, WSPConnect and the calls that transfer data, and reaches the base provider's
 * through the table of procedures. Compiles as C and as C++. */
#include <stdio.h>
#include <string.h>
#include <Ws2spi.h>
#include <Ws2tcpip.h>
#include "check.h"

static WSPPROC_TABLE base;
static int connections, refusals, transfers;

/* Counts the connections that pass through this layer. */
int WSPAPI WSPConnect(SOCKET s, const struct sockaddr FAR *name, int namelen, LPWSABUF lpCallerData,
                      LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno) {
    int result = base.lpWSPConnect(s, name, namelen, lpCallerData, lpCalleeData, lpSQOS, lpGQOS, lpErrno);
    connections++;
    if (result == SOCKET_ERROR && *lpErrno == WSAEOPNOTSUPP)
        refusals++;
    return result;
}

/* Count the transfers that pass through this layer, and pass the thread on. */
int WSPAPI WSPSend(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent, DWORD dwFlags,
                   LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
                   LPWSATHREADID lpThreadId, LPINT lpErrno) {
    transfers++;
    return base.lpWSPSend(s, lpBuffers, dwBufferCount, lpNumberOfBytesSent, dwFlags, lpOverlapped, lpCompletionRoutine,
                          lpThreadId, lpErrno);
}

int WSPAPI WSPSendTo(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent, DWORD dwFlags,
                     const struct sockaddr FAR *lpTo, int iTolen, LPWSAOVERLAPPED lpOverlapped,
                     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                     LPINT lpErrno) {
    transfers++;
    return base.lpWSPSendTo(s, lpBuffers, dwBufferCount, lpNumberOfBytesSent, dwFlags, lpTo, iTolen, lpOverlapped,
                            lpCompletionRoutine, lpThreadId, lpErrno);
}

int WSPAPI WSPRecv(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd, LPDWORD lpFlags,
                   LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
                   LPWSATHREADID lpThreadId, LPINT lpErrno) {
    transfers++;
    return base.lpWSPRecv(s, lpBuffers, dwBufferCount, lpNumberOfBytesRecvd, lpFlags, lpOverlapped,
                          lpCompletionRoutine, lpThreadId, lpErrno);
}

int WSPAPI WSPRecvFrom(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd, LPDWORD lpFlags,
                       struct sockaddr FAR *lpFrom, LPINT lpFromlen, LPWSAOVERLAPPED lpOverlapped,
                       LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                       LPINT lpErrno) {
    transfers++;
    return base.lpWSPRecvFrom(s, lpBuffers, dwBufferCount, lpNumberOfBytesRecvd, lpFlags, lpFrom, lpFromlen,
                              lpOverlapped, lpCompletionRoutine, lpThreadId, lpErrno);
}

int WSPAPI WSPStartup(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                      WSPUPCALLTABLE UpcallTable, LPWSPPROC_TABLE lpProcTable) {
    int result = gqos_WSPStartup(wVersionRequested, lpWSPData, lpProtocolInfo, &base);
    (void)UpcallTable;
    *lpProcTable = base;
    lpProcTable->lpWSPConnect = WSPConnect;
    lpProcTable->lpWSPSend = WSPSend;
    lpProcTable->lpWSPSendTo = WSPSendTo;
    lpProcTable->lpWSPRecv = WSPRecv;
    lpProcTable->lpWSPRecvFrom = WSPRecvFrom;
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

/* The error that a call has written, or 0 where it has succeeded. */
static int error_of(int result, const int *error) { return result == SOCKET_ERROR ? *error : 0; }

/* Sends datagrams to the socket itself and receives them, and checks that errors come by the last parameter. */
static void transfer(WSPPROC_TABLE *table) {
    struct sockaddr_in own = address("127.0.0.1", 0), from;
    char text[] = "by the layer", got[32];
    WSABUF out, in;
    WSATHREADID thread;
    DWORD count = 0, flags = 0;
    int length = sizeof own, error = 0;
    u_long nonblocking = 1;
    SOCKET s = table->lpWSPSocket(AF_INET, SOCK_DGRAM, IPPROTO_UDP, NULL, 0, WSA_FLAG_OVERLAPPED, &error);
    out.buf = text, out.len = sizeof text;
    in.buf = got, in.len = sizeof got;
    check("WPUOpenCurrentThread", WPUOpenCurrentThread(&thread, &error), 0);
    check("WSPBind", table->lpWSPBind(s, (struct sockaddr *)&own, sizeof own, &error), 0);
    check("WSPGetSockName", table->lpWSPGetSockName(s, (struct sockaddr *)&own, &length, &error), 0);
    check("WSPSendTo", error_of(table->lpWSPSendTo(s, &out, 1, &count, 0, (struct sockaddr *)&own, sizeof own, NULL, NULL,
                                                   &thread, &error), &error), 0);
    check("its length", (int)count, (int)sizeof text);
    length = sizeof from;
    check("WSPRecvFrom", error_of(table->lpWSPRecvFrom(s, &in, 1, &count, &flags, (struct sockaddr *)&from, &length, NULL,
                                                       NULL, &thread, &error), &error), 0);
    check("its data", strcmp(got, text), 0);
    check("its sender", from.sin_port, own.sin_port);
    check("WSPConnect", table->lpWSPConnect(s, (struct sockaddr *)&own, sizeof own, NULL, NULL, NULL, NULL, &error), 0);
    check("WSPSend", error_of(table->lpWSPSend(s, &out, 1, &count, 0, NULL, NULL, &thread, &error), &error), 0);
    memset(got, 0, sizeof got);
    check("WSPRecv", error_of(table->lpWSPRecv(s, &in, 1, &count, &flags, NULL, NULL, NULL, &error), &error), 0);
    check("its data", strcmp(got, text), 0);
    check("WSPIoctl", table->lpWSPIoctl(s, FIONBIO, &nonblocking, sizeof nonblocking, NULL, 0, &count, NULL, NULL,
                                        &thread, &error), 0);
    thread.Reserved = 77;
    check("WSPRecv without data",
          error_of(table->lpWSPRecv(s, &in, 1, &count, &flags, NULL, NULL, &thread, &error), &error), WSAEWOULDBLOCK);
    check("the thread is as it was", (int)thread.Reserved, 77);
    check("WSPCloseSocket", table->lpWSPCloseSocket(s, &error), 0);
    check("WSPSend on a closed socket",
          error_of(table->lpWSPSend(s, &out, 1, &count, 0, NULL, NULL, &thread, &error), &error), WSAENOTSOCK);
    check("transfers through the layer", transfers, 6);
}

/* What an installer reads of the catalogue, without WSAStartup. */
static void read_catalogue(void) {
    DWORD size = 0;
    int error = 0, length = 0;
    WCHAR path[1024];
    static WSAPROTOCOL_INFOW infos[32];
    check("WSCEnumProtocols without room",
          error_of(WSCEnumProtocols(NULL, NULL, &size, &error), &error), WSAENOBUFS);
    check("the size that it needs", size > 0 && size <= sizeof infos, 1);
    check("WSCEnumProtocols", WSCEnumProtocols(NULL, infos, &size, &error) > 0, 1);
    check("its first entry", infos[0].ProtocolChain.ChainLen, 1);
    length = 1024;
    check("WSCGetProviderPath", WSCGetProviderPath(&infos[0].ProviderId, path, &length, &error), 0);
    size = sizeof infos;
    FAILS("WSAEnumProtocols", WSAEnumProtocolsW(NULL, infos, &size), WSANOTINITIALISED);
}

int main(void) {
    WSPDATA data;
    WSPPROC_TABLE table;
    WSPUPCALLTABLE upcalls;
    LPWSPSTARTUP start = WSPStartup;
    LPWSPCONNECT own = WSPConnect;
    void *addresses[4];
    WSADATA wsadata;
    SOCKET listener;
    struct sockaddr_in peer = address("127.0.0.1", 0);
    int length = sizeof peer;

    memset(&upcalls, 0, sizeof upcalls);
    addresses[0] = (void *)WSPStartup, addresses[1] = (void *)gqos_WSPStartup;
    addresses[2] = (void *)WSPConnect, addresses[3] = (void *)gqos_WSPConnect;
    check("the layer's functions are not the base's", addresses[0] != addresses[1] && addresses[2] != addresses[3], 1);
    check("WSPStartup by its address", addresses[0] == (void *)start, 1);
    check("WSPConnect by its address", addresses[2] == (void *)own, 1);
    read_catalogue();
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
    connections = 0;
    transfer(&table);
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
