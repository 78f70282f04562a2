/* The shapes of the usual sample programs: a QoS client and server with FD_QOS, an overlapped server, a server of
 * WSAPoll, a simple exchange, and a multicast session. Each runs both ends in this process. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <qossp.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

/* The catalogue's first TCP or UDP entry with QoS; with connect data where that is wanted. */
static int find_protocol(WSAPROTOCOL_INFO *found, int protocol, DWORD flags) {
    WSAPROTOCOL_INFO *all;
    DWORD size = 0;
    int count, i, right = 0;
    check("the catalogue's size", WSAEnumProtocols(NULL, NULL, &size) == SOCKET_ERROR && WSAGetLastError() == WSAENOBUFS, 1);
    all = (WSAPROTOCOL_INFO *)malloc(size);
    count = WSAEnumProtocols(NULL, all, &size);
    for (i = 0; i < count && !right; i++) {
        right = all[i].iProtocol == protocol && all[i].iAddressFamily == AF_INET &&
                (all[i].dwServiceFlags1 & (XP1_QOS_SUPPORTED | flags)) == (XP1_QOS_SUPPORTED | flags);
        if (right) *found = all[i];
    }
    free(all);
    return right;
}

static SOCKET listening(struct sockaddr_in *name, WSAPROTOCOL_INFO *info) {
    SOCKET s = WSASocket(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, info, 0, WSA_FLAG_OVERLAPPED);
    int length = sizeof *name;
    *name = address("127.0.0.1", 0);
    GIVES("bind", bind(s, NAME(*name)));
    GIVES("listen", listen(s, 5));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)name, &length));
    return s;
}

static int CALLBACK accept_everything(LPWSABUF caller, LPWSABUF data, LPQOS sqos, LPQOS gqos, LPWSABUF callee,
                                      LPWSABUF answer, GROUP *g, DWORD_PTR context) {
    (void)caller, (void)data, (void)gqos, (void)callee, (void)g, (void)context;
    answer->len = 0;
    return sqos ? CF_ACCEPT : CF_REJECT;
}

/* The code of the status that FD_QOS announces. */
static DWORD status_of(SOCKET s) {
    struct {
        QOS qos;
        char objects[256];
    } answer;
    DWORD size = 0;
    RSVP_STATUS_INFO *status;
    if (WSAIoctl(s, SIO_GET_QOS, NULL, 0, &answer, sizeof answer, &size, NULL, NULL) == SOCKET_ERROR) return 0;
    status = (RSVP_STATUS_INFO *)(void *)answer.qos.ProviderSpecific.buf;
    return status && status->ObjectHdr.ObjectType == RSVP_OBJECT_STATUS_INFO ? status->StatusCode : 0;
}

/* Waits for events of a socket, within five seconds. */
static int wait_for(SOCKET s, WSAEVENT event, int wanted) {
    WSANETWORKEVENTS found;
    int seen = 0, round;
    for (round = 0; round < 20 && (seen & wanted) != wanted; round++) {
        if (WSAWaitForMultipleEvents(1, &event, FALSE, 5000, FALSE) != WSA_WAIT_EVENT_0) break;
        if (WSAEnumNetworkEvents(s, event, &found)) break;
        seen |= (int)found.lNetworkEvents;
    }
    return (seen & wanted) == wanted;
}

static void *accept_one(void *argument) {
    SOCKET *sockets = (SOCKET *)argument;
    sockets[1] = WSAAccept(sockets[0], NULL, NULL, accept_everything, 0);
    return NULL;
}

/* The sender waits for receivers before it sends, the receiver for senders. */
static void qos_exchange(void) {
    WSAPROTOCOL_INFO info;
    struct sockaddr_in name;
    SOCKET sockets[2], client;
    WSAEVENT event = WSACreateEvent(), other = WSACreateEvent();
    QOS qos = guaranteed(50000, 10000);
    pthread_t thread;
    char text[16];
    check("a protocol with QoS", find_protocol(&info, IPPROTO_TCP, XP1_CONNECT_DATA), 1);
    sockets[0] = listening(&name, &info);
    client = WSASocket(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &info, 0, WSA_FLAG_OVERLAPPED);
    GIVES("the client's events", WSAEventSelect(client, event, FD_CONNECT | FD_QOS | FD_WRITE));
    pthread_create(&thread, NULL, accept_one, sockets);
    if (WSAConnect(client, NAME(name), NULL, NULL, &qos, NULL) == SOCKET_ERROR)
        check("WSAConnect", WSAGetLastError(), WSAEWOULDBLOCK);
    pthread_join(thread, NULL);
    check("accepted", sockets[1] != INVALID_SOCKET, 1);
    check("FD_QOS at the client", wait_for(client, event, FD_QOS), 1);
    check("  receivers", (int)status_of(client), WSA_QOS_RECEIVERS);
    GIVES("the server's events", WSAEventSelect(sockets[1], other, FD_READ | FD_QOS));
    check("FD_QOS at the server", wait_for(sockets[1], other, FD_QOS), 1);
    check("  senders", (int)status_of(sockets[1]), WSA_QOS_SENDERS);
    check("send", send(client, "hello", 5, 0), 5);
    check("FD_READ", wait_for(sockets[1], other, FD_READ), 1);
    check("recv", recv(sockets[1], text, sizeof text, 0), 5);
    closesocket(client), closesocket(sockets[0]), closesocket(sockets[1]);
    WSACloseEvent(event), WSACloseEvent(other);
}

/* The same by AcceptEx, whose socket learns of the sender, also when it is used for a second connection. */
static void accept_ex_exchange(void) {
    char addresses[2 * (sizeof(struct sockaddr_in) + 16)];
    const DWORD each = sizeof(struct sockaddr_in) + 16;
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0), accepted = socket(AF_INET, SOCK_STREAM, 0);
    WSAEVENT event = WSACreateEvent(), other = WSACreateEvent();
    QOS sends = guaranteed(50000, 10000), receives = guaranteed(50000, 10000);
    GUID id = WSAID_DISCONNECTEX;
    LPFN_DISCONNECTEX disconnect = NULL;
    int length = sizeof name, round;
    DWORD moved = 0, flags = 0;
    receives.ReceivingFlowspec = receives.SendingFlowspec;
    receives.SendingFlowspec.ServiceType = SERVICETYPE_NOTRAFFIC;
    GIVES("the listener's QOS", WSAIoctl(listener, SIO_SET_QOS, &receives, sizeof receives, NULL, 0, &moved, NULL, NULL));
    GIVES("bind", bind(listener, NAME(name)));
    GIVES("listen", listen(listener, 5));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&name, &length));
    GIVES("DisconnectEx", WSAIoctl(accepted, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &disconnect,
                                   sizeof disconnect, &moved, NULL, NULL));
    for (round = 0; round < 2; round++) {
        SOCKET client = socket(AF_INET, SOCK_STREAM, 0);
        OVERLAPPED overlapped;
        memset(&overlapped, 0, sizeof overlapped);
        AcceptEx(listener, accepted, addresses, 0, each, each, &moved, &overlapped);
        GIVES("WSAConnect", WSAConnect(client, NAME(name), NULL, NULL, &sends, NULL));
        check("AcceptEx", WSAGetOverlappedResult(listener, &overlapped, &moved, TRUE, &flags), TRUE);
        GIVES("the client's events", WSAEventSelect(client, event, FD_QOS));
        check("FD_QOS at the client", wait_for(client, event, FD_QOS), 1);
        check("  receivers", (int)status_of(client), WSA_QOS_RECEIVERS);
        GIVES("the server's events", WSAEventSelect(accepted, other, FD_QOS));
        check("FD_QOS at the server", wait_for(accepted, other, FD_QOS), 1);
        check("  senders", (int)status_of(accepted), WSA_QOS_SENDERS);
        GIVES("no events", WSAEventSelect(accepted, other, 0));
        check("DisconnectEx", disconnect && disconnect(accepted, NULL, TF_REUSE_SOCKET, 0), TRUE);
        closesocket(client);
    }
    closesocket(listener), closesocket(accepted);
    WSACloseEvent(event), WSACloseEvent(other);
}

static void *send_and_close(void *argument) {
    struct sockaddr_in *name = (struct sockaddr_in *)argument;
    SOCKET s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    char text[16];
    int length = 0;
    GIVES("connect", connect(s, NAME(*name)));
    check("send", send(s, "hello", 5, 0), 5);
    GIVES("SD_SEND", shutdown(s, SD_SEND));
    while (length < 5) {
        int got = recv(s, text + length, (int)sizeof text - length, 0);
        if (got <= 0) break;
        length += got;
    }
    check("the echo", length == 5 && memcmp(text, "hello", 5) == 0, 1);
    closesocket(s);
    return NULL;
}

/* One overlapped receive after the other, each answered by an overlapped send. */
static void overlapped_server(void) {
    struct sockaddr_in name;
    WSAPROTOCOL_INFO info;
    SOCKET listener, s;
    pthread_t thread;
    WSAOVERLAPPED overlapped;
    WSABUF buffer;
    DWORD moved = 0, flags = 0;
    char text[64];
    check("TCP", find_protocol(&info, IPPROTO_TCP, 0), 1);
    listener = listening(&name, &info);
    pthread_create(&thread, NULL, send_and_close, &name);
    s = accept(listener, NULL, NULL);
    memset(&overlapped, 0, sizeof overlapped);
    overlapped.hEvent = WSACreateEvent();
    for (;;) {
        buffer.buf = text;
        buffer.len = sizeof text;
        flags = 0;
        WSAResetEvent(overlapped.hEvent);
        if (WSARecv(s, &buffer, 1, NULL, &flags, &overlapped, NULL) == SOCKET_ERROR && WSAGetLastError() != WSA_IO_PENDING) break;
        WSAWaitForMultipleEvents(1, &overlapped.hEvent, TRUE, WSA_INFINITE, TRUE);
        if (!WSAGetOverlappedResult(s, &overlapped, &moved, FALSE, &flags) || moved == 0) break;
        buffer.len = moved;
        WSAResetEvent(overlapped.hEvent);
        WSASend(s, &buffer, 1, NULL, 0, &overlapped, NULL);
        check("sent", WSAGetOverlappedResult(s, &overlapped, &moved, TRUE, &flags), TRUE);
    }
    check("the end of the stream", (int)moved, 0);
    closesocket(s);
    pthread_join(thread, NULL);
    closesocket(listener);
    WSACloseEvent(overlapped.hEvent);
}

/* A server that polls its listener and its connections, and echoes. */
static void poll_server(void) {
    struct sockaddr_in name;
    WSAPROTOCOL_INFO info;
    WSAPOLLFD polled[4];
    pthread_t threads[2];
    ULONG count = 1, i;
    int ended = 0;
    char text[64];
    check("TCP", find_protocol(&info, IPPROTO_TCP, 0), 1);
    memset(polled, 0, sizeof polled);
    polled[0].fd = listening(&name, &info);
    polled[0].events = POLLRDNORM;
    for (i = 0; i < 2; i++) pthread_create(&threads[i], NULL, send_and_close, &name);
    while (ended < 2 && WSAPoll(polled, count, 5000) > 0) {
        if (polled[0].revents & POLLRDNORM && count < 4) {
            polled[count].fd = accept(polled[0].fd, NULL, NULL);
            polled[count].events = POLLRDNORM;
            polled[count++].revents = 0;
        }
        for (i = 1; i < count; i++) {
            if (polled[i].revents & POLLRDNORM) {
                int length = recv(polled[i].fd, text, sizeof text, 0);
                if (length > 0) send(polled[i].fd, text, length, 0);
            } else if (polled[i].revents & (POLLHUP | POLLERR)) {
                closesocket(polled[i].fd);
                polled[i--] = polled[--count];
                ended++;
            }
        }
    }
    check("both connections", ended, 2);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    closesocket(polled[0].fd);
}

/* A datagram client that asks, and a server that answers. */
static void simple(void) {
    struct sockaddr_in name = address("127.0.0.1", 0), from;
    SOCKET server = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), client = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    int length = sizeof name;
    char text[16];
    GIVES("bind", bind(server, NAME(name)));
    GIVES("getsockname", getsockname(server, (struct sockaddr *)&name, &length));
    GIVES("connect", connect(client, NAME(name)));
    check("send", send(client, "ask", 3, 0), 3);
    length = sizeof from;
    check("recvfrom", recvfrom(server, text, sizeof text, 0, (struct sockaddr *)&from, &length), 3);
    check("sendto", sendto(server, "answer", 6, 0, (struct sockaddr *)&from, length), 6);
    check("recv", recv(client, text, sizeof text, 0), 6);
    closesocket(server);
    closesocket(client);
}

/* An operation whose result was fetched has signalled its event, and signals it no more: a program may reset it then
 * and use it for the next operation. */
static void event_and_result(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET receiver = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), sender = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    int length = sizeof name, round, late = 0, failed = 0;
    WSAOVERLAPPED overlapped;
    WSABUF buffer;
    DWORD moved = 0, flags = 0;
    char text[16];
    GIVES("bind", bind(receiver, NAME(name)));
    GIVES("getsockname", getsockname(receiver, (struct sockaddr *)&name, &length));
    memset(&overlapped, 0, sizeof overlapped);
    overlapped.hEvent = WSACreateEvent();
    for (round = 0; round < 3000; round++) {
        buffer.buf = text, buffer.len = sizeof text, flags = 0;
        if (WSARecv(receiver, &buffer, 1, NULL, &flags, &overlapped, NULL) == SOCKET_ERROR && WSAGetLastError() != WSA_IO_PENDING)
            failed++;
        if (sendto(sender, "datagram", 8, 0, NAME(name)) != 8) failed++;
        if (!WSAGetOverlappedResult(receiver, &overlapped, &moved, TRUE, &flags) || moved != 8) failed++;
        if (WSAWaitForMultipleEvents(1, &overlapped.hEvent, FALSE, 0, FALSE) != WSA_WAIT_EVENT_0) late++;
        WSAResetEvent(overlapped.hEvent);
    }
    check("operations that failed", failed, 0);
    check("results before their event", late, 0);
    closesocket(receiver), closesocket(sender);
    WSACloseEvent(overlapped.hEvent);
}

/* A sender and a receiver of a multicast session: both send and sendto reach it. */
static void multicast(void) {
    struct sockaddr_in session = address("239.1.2.3", 5150);
    WSAPROTOCOL_INFO info;
    SOCKET sender, receiver;
    DWORD limit = 2000;
    char text[16];
    check("UDP", find_protocol(&info, IPPROTO_UDP, 0), 1);
    receiver = WSASocket(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &info, 0, WSA_FLAG_OVERLAPPED);
    sender = WSASocket(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &info, 0, WSA_FLAG_OVERLAPPED);
    GIVES("SO_RCVTIMEO", setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, (char *)&limit, sizeof limit));
    check("a receiver", WSAJoinLeaf(receiver, NAME(session), NULL, NULL, NULL, NULL, JL_RECEIVER_ONLY) == receiver, 1);
    check("a sender", WSAJoinLeaf(sender, NAME(session), NULL, NULL, NULL, NULL, JL_SENDER_ONLY) == sender, 1);
    check("send", send(sender, "one", 3, 0), 3);
    check("recv", recv(receiver, text, sizeof text, 0), 3);
    check("sendto", sendto(sender, "three", 5, 0, NAME(session)), 5);
    check("recv", recv(receiver, text, sizeof text, 0), 5);
    FAILS("a receiver sends nothing", send(receiver, "x", 1, 0), WSAENOTCONN);
    closesocket(sender);
    closesocket(receiver);
}

/* A sender and a receiver of datagrams, which learn of each other's QoS, whichever is first. */
static void exchange(const char *what, SOCKET sends, SOCKET receives, int (*first)(SOCKET, SOCKET),
                     int (*second)(SOCKET, SOCKET)) {
    WSAEVENT event = WSACreateEvent(), other = WSACreateEvent();
    GIVES(what, WSAEventSelect(sends, event, FD_QOS));
    GIVES("the receiver's events", WSAEventSelect(receives, other, FD_QOS));
    GIVES("the first", first(sends, receives));
    check("nothing yet", (int)WSAWaitForMultipleEvents(1, &event, FALSE, 20, FALSE), WSA_WAIT_TIMEOUT);
    check("  at the receiver", (int)WSAWaitForMultipleEvents(1, &other, FALSE, 0, FALSE), WSA_WAIT_TIMEOUT);
    GIVES("the second", second(sends, receives));
    check("FD_QOS at the sender", wait_for(sends, event, FD_QOS), 1);
    check("  receivers", (int)status_of(sends), WSA_QOS_RECEIVERS);
    check("FD_QOS at the receiver", wait_for(receives, other, FD_QOS), 1);
    check("  senders", (int)status_of(receives), WSA_QOS_SENDERS);
    closesocket(sends), closesocket(receives);
    WSACloseEvent(event), WSACloseEvent(other);
}

static QOS receiving(void) {
    QOS qos = guaranteed(50000, 10000);
    qos.ReceivingFlowspec = qos.SendingFlowspec;
    qos.SendingFlowspec.ServiceType = SERVICETYPE_NOTRAFFIC;
    return qos;
}

static int send_to_session(SOCKET sends, SOCKET receives) {
    struct sockaddr_in session = address("239.1.2.4", 5604);
    QOS qos = guaranteed(50000, 10000);
    (void)receives;
    return WSAJoinLeaf(sends, NAME(session), NULL, NULL, &qos, NULL, JL_SENDER_ONLY) == sends ? 0 : SOCKET_ERROR;
}

static int receive_session(SOCKET sends, SOCKET receives) {
    struct sockaddr_in session = address("239.1.2.4", 5604);
    QOS qos = receiving();
    (void)sends;
    return WSAJoinLeaf(receives, NAME(session), NULL, NULL, &qos, NULL, JL_RECEIVER_ONLY) == receives ? 0 : SOCKET_ERROR;
}

/* The sender has no local address yet. */
static int send_to_destination(SOCKET sends, SOCKET receives) {
    struct sockaddr_in to;
    QOS_DESTADDR destination;
    QOS qos = guaranteed(50000, 10000);
    DWORD moved = 0;
    int length = sizeof to;
    GIVES("getsockname", getsockname(receives, (struct sockaddr *)&to, &length));
    memset(&destination, 0, sizeof destination);
    destination.ObjectHdr.ObjectType = QOS_OBJECT_DESTADDR;
    destination.ObjectHdr.ObjectLength = sizeof destination;
    destination.SocketAddress = (struct sockaddr *)&to;
    destination.SocketAddressLength = sizeof to;
    qos.ProviderSpecific.buf = (char *)&destination;
    qos.ProviderSpecific.len = sizeof destination;
    return WSAIoctl(sends, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &moved, NULL, NULL);
}

static int receive_anything(SOCKET sends, SOCKET receives) {
    QOS qos = receiving();
    DWORD moved = 0;
    (void)sends;
    return WSAIoctl(receives, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &moved, NULL, NULL);
}

static SOCKET bound(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    GIVES("bind", bind(s, NAME(name)));
    return s;
}

static void datagram_exchanges(void) {
    exchange("leaves", socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0), send_to_session, receive_session);
    exchange("leaves", socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0), receive_session, send_to_session);
    exchange("QOS_DESTADDR", socket(AF_INET, SOCK_DGRAM, 0), bound(), send_to_destination, receive_anything);
    exchange("QOS_DESTADDR", socket(AF_INET, SOCK_DGRAM, 0), bound(), receive_anything, send_to_destination);
}

int main(void) {
    WSADATA data;
    alarm(60);
    if (unshare(CLONE_NEWNET)) {
        printf("no network namespace: %s\n", strerror(errno));
        return 77;
    }
    if (system("ip link set lo up && ip route add 239.0.0.0/8 dev lo")) return 77;
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    qos_exchange();
    accept_ex_exchange();
    overlapped_server();
    poll_server();
    simple();
    event_and_result();
    multicast();
    datagram_exchanges();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
