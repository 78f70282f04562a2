/* Groups, FD_QOS, ConnectEx, completion routines, multicast, and the codes that need a network namespace. Exits with
 * 77 where it cannot make one, and with 1 if a check fails. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <qossp.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

static QOS sending(DWORD bytes) { return guaranteed(bytes, QOS_NOT_SPECIFIED); }

static void run(const char *command) { check(command, system(command), 0); }

/* A listener and its address. */
static SOCKET listening(struct sockaddr_in *name, int backlog) {
    SOCKET s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    int length = sizeof *name;
    *name = address("127.0.0.1", 0);
    GIVES("bind", bind(s, (struct sockaddr *)name, sizeof *name));
    GIVES("listen", listen(s, backlog));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)name, &length));
    return s;
}

static SOCKET stream(void) { return socket(AF_INET, SOCK_STREAM, IPPROTO_TCP); }

/* A connect that a seccomp filter makes fail: the errno, and the Winsock code that results. */
struct refusal {
    int error, code;
    struct sockaddr_in peer;
};

static void *connect_that_fails(void *argument) {
    struct refusal *refusal = (struct refusal *)argument;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, (unsigned)SECCOMP_RET_ERRNO | (unsigned)refusal->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    SOCKET s = stream();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        check("seccomp", errno, 0);
    refusal->code = connect(s, NAME(refusal->peer)) == SOCKET_ERROR ? WSAGetLastError() : 0;
    closesocket(s);
    return NULL;
}

static void codes(void) {
    struct sockaddr_in peer, local = address("127.0.0.1", 0), nowhere = address("10.1.2.3", 9);
    SOCKET listener, first = stream(), second = stream(), unresponsive, queued[8];
    int on = 1, i, length = sizeof local;
    u_long nonblocking = 1;
    struct refusal refusals[2];
    FAILS("no route", connect(first, NAME(nowhere)), WSAENETUNREACH);
    closesocket(first);
    first = stream();
    run("ip link set lo up");
    run("echo 1 > /proc/sys/net/ipv4/tcp_syn_retries");
    listener = listening(&peer, 5);
    GIVES("SO_REUSEADDR", setsockopt(first, SOL_SOCKET, SO_REUSEADDR, (char *)&on, sizeof on));
    GIVES("SO_REUSEADDR", setsockopt(second, SOL_SOCKET, SO_REUSEADDR, (char *)&on, sizeof on));
    GIVES("bind", bind(first, NAME(local)));
    GIVES("getsockname", getsockname(first, (struct sockaddr *)&local, &length));
    GIVES("the same address", bind(second, NAME(local)));
    GIVES("connect", connect(first, NAME(peer)));
    FAILS("the same two addresses", connect(second, NAME(peer)), WSAEADDRINUSE);
    closesocket(first), closesocket(second);
    for (i = 0; i < 2; i++) {
        pthread_t thread;
        refusals[i].error = i ? ENOBUFS : ENETDOWN;
        refusals[i].peer = peer;
        pthread_create(&thread, NULL, connect_that_fails, &refusals[i]);
        pthread_join(thread, NULL);
    }
    check("the network is down", refusals[0].code, WSAENETDOWN);
    check("no buffers", refusals[1].code, WSAENOBUFS);
    closesocket(listener);
    unresponsive = listening(&peer, 1);
    for (i = 0; i < 8; i++) {
        queued[i] = stream();
        ioctlsocket(queued[i], FIONBIO, &nonblocking);
        connect(queued[i], NAME(peer));
    }
    FAILS("connecting already", connect(queued[7], NAME(peer)), WSAEALREADY);
    first = stream();
    FAILS("no answer", connect(first, NAME(peer)), WSAETIMEDOUT);
    for (i = 0; i < 8; i++)
        closesocket(queued[i]);
    closesocket(first), closesocket(unresponsive);
}

/* A network's broadcast address is refused before the QOS is considered. */
static void broadcasts(void) {
    struct sockaddr_in all = address("10.9.9.255", 9);
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    QOS most = sending(50000000);
    int on = 1;
    run("ip link add gq2 type veth peer name gq3 && ip addr add 10.9.9.1/24 brd + dev gq2 && ip link set gq2 up");
    FAILS("a network's broadcast", WSAConnect(s, NAME(all), NULL, NULL, &most, NULL), WSAEACCES);
    GIVES("SO_BROADCAST", setsockopt(s, SOL_SOCKET, SO_BROADCAST, (char *)&on, sizeof on));
    FAILS("then the QOS is refused", WSAConnect(s, NAME(all), NULL, NULL, &most, NULL), WSAEOPNOTSUPP);
    GIVES("without a QOS", WSAConnect(s, NAME(all), NULL, NULL, NULL, NULL));
    closesocket(s);
}

static GROUP group_of(SOCKET s) {
    GROUP id = 0;
    int length = sizeof id;
    GIVES("SO_GROUP_ID", getsockopt(s, SOL_SOCKET, SO_GROUP_ID, (char *)&id, &length));
    return id;
}

static void groups(void) {
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), creator, member, third;
    QOS own = sending(200000), whole = sending(500000), more = sending(300000), got;
    DWORD size = 0;
    GROUP id;
    check("no such group", WSASocketA(AF_INET, SOCK_STREAM, 0, NULL, 77, 0) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSAEINVAL);
    check("datagrams in a constrained group",
          WSASocketA(AF_INET, SOCK_DGRAM, 0, NULL, SG_CONSTRAINED_GROUP, 0) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSAEINVAL);
    creator = WSASocketA(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, SG_UNCONSTRAINED_GROUP, WSA_FLAG_OVERLAPPED);
    id = group_of(creator);
    check("a group id", id > 2, 1);
    member = WSASocketA(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, id, WSA_FLAG_OVERLAPPED);
    third = WSASocketA(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, id, WSA_FLAG_OVERLAPPED);
    check("the same group", (int)group_of(member), (int)id);
    GIVES("WSAConnect with lpGQOS", WSAConnect(creator, NAME(peer), NULL, NULL, &own, &whole));
    GIVES("WSAConnect of a member", WSAConnect(member, NAME(peer), NULL, NULL, &more, NULL));
    FAILS("more than the group has", WSAConnect(third, NAME(peer), NULL, NULL, &own, NULL), WSAEOPNOTSUPP);
    FAILS("SIO_SET_GROUP_QOS by a member",
          WSAIoctl(member, SIO_SET_GROUP_QOS, &whole, sizeof whole, NULL, 0, &size, NULL, NULL), WSAEINVAL);
    whole = sending(700000);
    GIVES("SIO_SET_GROUP_QOS", WSAIoctl(creator, SIO_SET_GROUP_QOS, &whole, sizeof whole, NULL, 0, &size, NULL, NULL));
    GIVES("SIO_GET_GROUP_QOS", WSAIoctl(third, SIO_GET_GROUP_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    check("its rate", (int)got.SendingFlowspec.TokenRate, 700000);
    GIVES("within the larger group", WSAConnect(third, NAME(peer), NULL, NULL, &own, NULL));
    closesocket(creator), closesocket(member), closesocket(third), closesocket(listener);
}

static void notifications(void) {
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), first = stream(), s = stream();
    QOS most = sending(900000), half = sending(600000);
    WSAEVENT event = WSACreateEvent();
    WSANETWORKEVENTS events;
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } got;
    DWORD size = 0;
    int tries = 0;
    /* The reservation of the earlier group ends once its data has left. */
    while (WSAConnect(first, NAME(peer), NULL, NULL, &most, NULL) == SOCKET_ERROR && tries++ < 200)
        usleep(10000);
    GIVES("WSAEventSelect", WSAEventSelect(s, event, FD_QOS));
    FAILS("no capacity", WSAConnect(s, NAME(peer), NULL, NULL, &half, NULL), WSAEOPNOTSUPP);
    closesocket(first);
    check("FD_QOS in time", (int)WSAWaitForMultipleEvents(1, &event, FALSE, 5000, FALSE), WSA_WAIT_EVENT_0);
    GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(s, event, &events));
    check("FD_QOS", events.lNetworkEvents, FD_QOS);
    check("capacity is available", events.iErrorCode[FD_QOS_BIT], WSA_QOS_RECEIVERS);
    memset(&got, 0, sizeof got);
    GIVES("SIO_GET_QOS", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    check("its status", (int)got.status.StatusCode, WSA_QOS_RECEIVERS);
    FAILS("no further status", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL), WSAEWOULDBLOCK);
    WSACloseEvent(event);
    closesocket(s), closesocket(listener);
}

/* SIO_GET_QOS with an OVERLAPPED waits for the next status. ConfirmRequest makes a reservation report one. */
static void overlapped_statuses(void) {
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), s = stream();
    QOS qos = sending(100000);
    RSVP_RESERVE_INFO reserve;
    OVERLAPPED overlapped, again;
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } got;
    DWORD size = 0, flags = 0, query = LINE_RATE, rate = 0;
    memset(&reserve, 0, sizeof reserve);
    reserve.ObjectHdr.ObjectType = RSVP_OBJECT_RESERVE_INFO;
    reserve.ObjectHdr.ObjectLength = sizeof reserve;
    reserve.ConfirmRequest = 1;
    qos.ProviderSpecific.buf = (char *)&reserve;
    qos.ProviderSpecific.len = sizeof reserve;
    memset(&overlapped, 0, sizeof overlapped);
    memset(&again, 0, sizeof again);
    overlapped.hEvent = WSACreateEvent();
    memset(&got, 0, sizeof got);
    FAILS("SIO_GET_QOS, overlapped", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, NULL, &overlapped, NULL),
          WSA_IO_PENDING);
    check("nothing yet", WSAGetOverlappedResult(s, &overlapped, &size, FALSE, &flags) ? 0 : WSAGetLastError(),
          WSA_IO_INCOMPLETE);
    GIVES("WSAConnect", WSAConnect(s, NAME(peer), NULL, NULL, &qos, NULL));
    check("its end", (int)WSAWaitForMultipleEvents(1, &overlapped.hEvent, FALSE, 5000, FALSE), WSA_WAIT_EVENT_0);
    check("completed", WSAGetOverlappedResult(s, &overlapped, &size, FALSE, &flags), TRUE);
    check("its size", (int)size, (int)(sizeof(QOS) + sizeof(RSVP_STATUS_INFO)));
    check("confirmed", (int)got.status.StatusCode, WSA_QOS_REQUEST_CONFIRMED);
    check("its rate", (int)got.qos.SendingFlowspec.TokenRate, 100000);
    GIVES("SIO_CHK_QOS", WSAIoctl(s, SIO_CHK_QOS, &query, sizeof query, &rate, sizeof rate, &size, NULL, NULL));
    check("10 Mbit/s in bytes", (int)rate, 1250000);
    GIVES("SIO_SET_QOS with an OVERLAPPED",
          WSAIoctl(s, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, NULL, &again, NULL));
    check("completes at once", WSAGetOverlappedResult(s, &again, &size, FALSE, &flags), TRUE);
    GIVES("its status", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    FAILS("SIO_GET_QOS again", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, NULL, &again, NULL), WSA_IO_PENDING);
    closesocket(s);
    check("ends with its socket", WSAGetOverlappedResult(s, &again, &size, TRUE, &flags) ? 0 : WSAGetLastError(),
          WSA_OPERATION_ABORTED);
    WSACloseEvent(overlapped.hEvent);
    closesocket(listener);
}

/* SIO_SET_QOS on a listener applies to the connections that it accepts. */
static void listeners(void) {
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), callers[2] = {stream(), stream()}, first;
    QOS most = sending(600000);
    u_long nonblocking = 1;
    char byte;
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } got;
    DWORD size = 0;
    int i;
    GIVES("SIO_SET_QOS of a listener", WSAIoctl(listener, SIO_SET_QOS, &most, sizeof most, NULL, 0, &size, NULL, NULL));
    for (i = 0; i < 2; i++)
        GIVES("connect", connect(callers[i], NAME(peer)));
    first = accept(listener, NULL, NULL);
    check("accept", first != INVALID_SOCKET, 1);
    memset(&got, 0, sizeof got);
    GIVES("SIO_GET_QOS", WSAIoctl(first, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    check("its rate", (int)got.qos.SendingFlowspec.TokenRate, 600000);
    check("is reserved", (int)got.status.StatusCode, WSA_QOS_REQUEST_CONFIRMED);
    GIVES("FIONBIO", ioctlsocket(listener, FIONBIO, &nonblocking));
    check("the second caller does not fit", accept(listener, NULL, NULL) == INVALID_SOCKET ? WSAGetLastError() : 0, WSAEWOULDBLOCK);
    GIVES("SIO_GET_QOS", WSAIoctl(listener, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    check("the listener gets the refusal", (int)got.status.StatusCode, WSA_QOS_ADMISSION_FAILURE);
    check("the refused caller's connection is closed", recv(callers[1], &byte, 1, 0), 0);
    closesocket(first), closesocket(callers[0]), closesocket(callers[1]), closesocket(listener);
}

static void one_way(void) {
    WSAPROTOCOL_INFOA protocols[16];
    DWORD capacity = sizeof protocols, size = 0;
    int count = WSAEnumProtocolsA(NULL, protocols, &capacity), i, sends = -1, receives = -1;
    struct sockaddr_in name = address("127.0.0.1", 0);
    int length = sizeof name;
    SOCKET sender, receiver;
    QOS both = sending(100000), got;
    char text[8] = "";
    both.ReceivingFlowspec = both.SendingFlowspec;
    both.ReceivingFlowspec.TokenRate = 100000000;
    for (i = 0; i < count; i++) {
        if (protocols[i].iAddressFamily == AF_INET && (protocols[i].dwServiceFlags1 & XP1_UNI_SEND))
            sends = i;
        if (protocols[i].iAddressFamily == AF_INET && (protocols[i].dwServiceFlags1 & XP1_UNI_RECV))
            receives = i;
    }
    check("one-way protocols", sends >= 0 && receives >= 0, 1);
    sender = WSASocketA(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &protocols[sends], 0, 0);
    receiver = WSASocketA(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &protocols[receives], 0, 0);
    {
        WSAPROTOCOL_INFOA info;
        int size_of_info = sizeof info;
        GIVES("SO_PROTOCOL_INFO", getsockopt(sender, SOL_SOCKET, SO_PROTOCOL_INFO, (char *)&info, &size_of_info));
        check("its entry", (int)info.dwCatalogEntryId, (int)protocols[sends].dwCatalogEntryId);
    }
    GIVES("bind", bind(receiver, NAME(name)));
    GIVES("getsockname", getsockname(receiver, (struct sockaddr *)&name, &length));
    GIVES("the other direction is ignored", WSAConnect(sender, NAME(name), NULL, NULL, &both, NULL));
    GIVES("SIO_GET_QOS", WSAIoctl(sender, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    check("its own direction", (int)got.SendingFlowspec.TokenRate, 100000);
    check("the other direction", (int)got.ReceivingFlowspec.ServiceType, SERVICETYPE_NOTRAFFIC);
    FAILS("a sender that receives", recv(sender, text, sizeof text, 0), WSAEOPNOTSUPP);
    check("send", send(sender, "one way", 7, 0), 7);
    check("recv", recv(receiver, text, sizeof text, 0), 7);
    FAILS("a receiver that sends", sendto(receiver, text, 7, 0, NAME(name)), WSAEOPNOTSUPP);
    closesocket(sender), closesocket(receiver);
}

static volatile int completed, completed_bytes, reported, reported_errors;

static void CALLBACK routine(DWORD error, DWORD moved, LPWSAOVERLAPPED overlapped, DWORD flags) {
    completed = error ? -1 : completed + 1;
    completed_bytes += (int)moved;
    (void)overlapped, (void)flags;
}

static void CALLBACK window(HWND self, UINT message, WPARAM s, LPARAM reply) {
    reported |= message == 77 && self != NULL && s != 0 ? WSAGETSELECTEVENT(reply) : 0;
    reported_errors |= WSAGETSELECTERROR(reply);
}

static void completions(void) {
    struct sockaddr_in peer, local = address("127.0.0.1", 0);
    SOCKET listener = listening(&peer, 20), s = stream(), server;
    GUID guid = WSAID_CONNECTEX;
    LPFN_CONNECTEX connect_ex = NULL;
    OVERLAPPED overlapped, receiving;
    DWORD moved = 0, size = 0, flags = 0;
    char text[16] = "", hello[] = "hello";
    WSABUF buffer;
    int i;
    GIVES("SIO_GET_EXTENSION_FUNCTION_POINTER", WSAIoctl(s, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof guid,
                                                         &connect_ex, sizeof connect_ex, &size, NULL, NULL));
    memset(&overlapped, 0, sizeof overlapped);
    check("ConnectEx without a local address",
          connect_ex(s, NAME(peer), hello, 5, &moved, &overlapped) ? 0 : WSAGetLastError(), WSAEINVAL);
    GIVES("bind", bind(s, NAME(local)));
    check("ConnectEx", connect_ex(s, NAME(peer), hello, 5, &moved, &overlapped) ? 0 : WSAGetLastError(),
          WSA_IO_PENDING);
    check("its end", WSAGetOverlappedResult(s, &overlapped, &moved, TRUE, &flags), TRUE);
    check("bytes sent", (int)moved, 5);
    GIVES("SO_UPDATE_CONNECT_CONTEXT", setsockopt(s, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0));
    server = accept(listener, NULL, NULL);
    check("recv", recv(server, text, sizeof text, 0), 5);

    buffer.buf = text, buffer.len = sizeof text;
    memset(&receiving, 0, sizeof receiving);
    FAILS("WSARecv with a routine", WSARecv(server, &buffer, 1, NULL, &flags, &receiving, routine), WSA_IO_PENDING);
    check("nothing yet", completed, 0);
    check("send", send(s, "again", 5, 0), 5);
    check("SleepEx", (int)SleepEx(5000, TRUE), WSA_WAIT_IO_COMPLETION);
    check("completion routines called", completed, 1);
    check("bytes received", completed_bytes, 5);

    GIVES("WSAAsyncSelect", WSAAsyncSelect(server, (HWND)window, 77, FD_READ | FD_CLOSE));
    check("send", send(s, "more", 4, 0), 4);
    for (i = 0; i < 500 && !(reported & FD_READ); i++)
        usleep(10000);
    closesocket(s);
    check("recv", recv(server, text, sizeof text, 0), 4);
    for (i = 0; i < 500 && !(reported & FD_CLOSE); i++)
        usleep(10000);
    check("both events", reported, FD_READ | FD_CLOSE);
    check("their errors", reported_errors, 0);
    closesocket(server), closesocket(listener);
}

static void *take_all(void *argument) {
    SOCKET s = *(SOCKET *)argument;
    static char buffer[65536];
    while (recv(s, buffer, sizeof buffer, 0) > 0) {
    }
    return NULL;
}

/* Overlapped sends are shaped to the flowspec. */
static void shaped(void) {
    static char data[150000];
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), s = stream(), server;
    QOS qos = guaranteed(400000, 50000);
    OVERLAPPED overlapped;
    WSABUF buffer;
    DWORD moved = 0, flags = 0;
    pthread_t thread;
    struct timeval before, after;
    int millis;
    GIVES("WSAConnect", WSAConnect(s, NAME(peer), NULL, NULL, &qos, NULL));
    server = accept(listener, NULL, NULL);
    pthread_create(&thread, NULL, take_all, &server);
    memset(&overlapped, 0, sizeof overlapped);
    buffer.buf = data, buffer.len = sizeof data;
    gettimeofday(&before, NULL);
    FAILS("WSASend", WSASend(s, &buffer, 1, NULL, 0, &overlapped, NULL), WSA_IO_PENDING);
    check("its end", WSAGetOverlappedResult(s, &overlapped, &moved, TRUE, &flags), TRUE);
    gettimeofday(&after, NULL);
    check("bytes sent", (int)moved, (int)sizeof data);
    /* The bucket covers 50 000 of the 150 000 bytes. */
    millis = (int)((after.tv_sec - before.tv_sec) * 1000 + (after.tv_usec - before.tv_usec) / 1000);
    check("no faster than reserved", millis >= 240, 1);
    closesocket(s);
    pthread_join(thread, NULL);
    closesocket(server), closesocket(listener);
}

/* A datagram longer than the buffers is truncated to them. */
static void truncated(void) {
    struct sockaddr_in name = address("127.0.0.1", 0);
    int length = sizeof name;
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    char first[3] = "", second[3] = "";
    WSABUF buffers[2];
    DWORD came = 0, flags = 0;
    OVERLAPPED overlapped;
    int is_overlapped;
    GIVES("bind", bind(s, NAME(name)));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)&name, &length));
    for (is_overlapped = 0; is_overlapped < 2; is_overlapped++) {
        memset(&overlapped, 0, sizeof overlapped);
        memset(first, 0, sizeof first), memset(second, 0, sizeof second);
        buffers[0].buf = first, buffers[0].len = 2;
        buffers[1].buf = second, buffers[1].len = 2;
        check("sendto", sendto(s, "longer", 6, 0, NAME(name)), 6);
        if (!is_overlapped)
            FAILS("WSARecv", WSARecv(s, buffers, 2, &came, &flags, NULL, NULL), WSAEMSGSIZE);
        else {
            FAILS("WSARecv, overlapped", WSARecv(s, buffers, 2, NULL, &flags, &overlapped, NULL), WSA_IO_PENDING);
            check("its end", WSAGetOverlappedResult(s, &overlapped, &came, TRUE, &flags) ? 0 : WSAGetLastError(),
                  WSAEMSGSIZE);
        }
        check("its beginning", strcmp(first, "lo") == 0 && strcmp(second, "ng") == 0, 1);
    }
    FAILS("no address for the length", WSARecv(s, buffers, 2, NULL, &flags, NULL, NULL), WSAEFAULT);
    closesocket(s);
}

/* Overlapped operations on a socket complete in order, and their WSABUFs may be changed once they have begun. */
static void in_order(void) {
    enum { MANY = 300 };
    static OVERLAPPED sends[MANY], receives[MANY];
    static int numbers[MANY], back[MANY];
    struct sockaddr_in peer;
    SOCKET listener = listening(&peer, 20), s = stream(), server;
    DWORD moved = 0, flags = 0;
    int i, right = 0;
    GIVES("connect", connect(s, NAME(peer)));
    server = accept(listener, NULL, NULL);
    for (i = 0; i < MANY; i++) {
        WSABUF buffer;
        DWORD own = MSG_WAITALL;
        buffer.buf = (char *)&back[i], buffer.len = sizeof back[i];
        right += WSARecv(server, &buffer, 1, NULL, &own, &receives[i], NULL) == SOCKET_ERROR &&
                 WSAGetLastError() == WSA_IO_PENDING;
        memset(&buffer, 0xff, sizeof buffer);
    }
    check("all are pending", right, MANY);
    for (i = 0; i < MANY; i++) {
        WSABUF halves[2];
        numbers[i] = i;
        halves[0].buf = (char *)&numbers[i], halves[0].len = 1;
        halves[1].buf = (char *)&numbers[i] + 1, halves[1].len = sizeof numbers[i] - 1;
        if (WSASend(s, halves, 2, NULL, 0, &sends[i], NULL) == SOCKET_ERROR && WSAGetLastError() != WSA_IO_PENDING)
            check("WSASend", WSAGetLastError(), 0);
        memset(halves, 0xff, sizeof halves);
    }
    for (i = 0, right = 0; i < MANY; i++)
        right += WSAGetOverlappedResult(s, &sends[i], &moved, TRUE, &flags) && moved == sizeof(int);
    check("all are sent", right, MANY);
    for (i = 0, right = 0; i < MANY; i++)
        right += WSAGetOverlappedResult(server, &receives[i], &moved, TRUE, &flags) && moved == sizeof(int) && back[i] == i;
    check("all are received in order", right, MANY);
    {
        WSABUF buffer;
        buffer.buf = (char *)back, buffer.len = sizeof back;
        flags = 0;
        FAILS("WSARecv again", WSARecv(server, &buffer, 1, NULL, &flags, &receives[0], NULL), WSA_IO_PENDING);
        closesocket(server);
        check("ends with its socket",
              WSAGetOverlappedResult(server, &receives[0], &moved, TRUE, &flags) ? 0 : WSAGetLastError(),
              WSA_OPERATION_ABORTED);
    }
    closesocket(s), closesocket(listener);
}

static void leaves(void) {
    struct sockaddr_in session = address("239.1.2.3", 5000), from, plain = address("127.0.0.1", 5000);
    SOCKET sender = socket(AF_INET, SOCK_DGRAM, 0), receiver = socket(AF_INET, SOCK_DGRAM, 0), tcp = stream();
    QOS qos = sending(100000), most = sending(5000000);
    char text[64] = "";
    int length = sizeof from;
    DWORD capacity = sizeof text;
    run("ip route add 239.0.0.0/8 dev lo");
    check("WSAJoinLeaf of a stream",
          WSAJoinLeaf(tcp, NAME(session), NULL, NULL, NULL, NULL, JL_BOTH) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSAEOPNOTSUPP);
    check("WSAJoinLeaf without a multicast address",
          WSAJoinLeaf(receiver, NAME(plain), NULL, NULL, NULL, NULL, JL_BOTH) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSAEADDRNOTAVAIL);
    check("more than is available",
          WSAJoinLeaf(sender, NAME(session), NULL, NULL, &most, NULL, JL_SENDER_ONLY) == INVALID_SOCKET
              ? WSAGetLastError()
              : 0,
          WSAEOPNOTSUPP);
    check("WSAJoinLeaf to receive", WSAJoinLeaf(receiver, NAME(session), NULL, NULL, NULL, NULL, JL_RECEIVER_ONLY) == receiver, 1);
    check("WSAJoinLeaf to send", WSAJoinLeaf(sender, NAME(session), NULL, NULL, &qos, NULL, JL_SENDER_ONLY) == sender, 1);
    check("sendto", sendto(sender, "all", 3, 0, NAME(session)), 3);
    check("recvfrom", recvfrom(receiver, text, sizeof text, 0, (struct sockaddr *)&from, &length), 3);
    closesocket(sender), closesocket(receiver), closesocket(tcp);
    GIVES("WSAAddressToString", WSAAddressToStringA((struct sockaddr *)&session, sizeof session, NULL, text, &capacity));
    check("the text", strcmp(text, "239.1.2.3:5000"), 0);
    length = sizeof from;
    GIVES("WSAStringToAddress", WSAStringToAddressA(text, AF_INET, NULL, (struct sockaddr *)&from, &length));
    check("the same address", from.sin_port == session.sin_port && from.sin_addr.s_addr == session.sin_addr.s_addr, 1);
}

static void hosts(void) {
    struct hostent *host;
    struct servent *service;
    struct protoent *protocol;
    struct in6_addr in6;
    struct in_addr in;
    struct ip_mreq member;
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    ADDRINFOW *wide = NULL;
    WCHAR number[] = {'1', '2', '7', '.', '0', '.', '0', '.', '1', 0}, back[32];
    USHORT port = 0;
    char text[64];
    host = gethostbyname("127.0.0.1");
    check("gethostbyname", host != NULL && host->h_addrtype == AF_INET && host->h_length == 4, 1);
    check("its address", memcmp(host->h_addr, "\177\0\0\1", 4) == 0 && host->h_addr_list[1] == NULL, 1);
    check("no such host", gethostbyname("no such host") ? 0 : WSAGetLastError(), WSAHOST_NOT_FOUND);
    GIVES("gethostname", gethostname(text, sizeof text));
    check("its length", strlen(text) > 0, 1);
    FAILS("with too small a buffer", gethostname(text, 1), WSAEFAULT);
    service = getservbyname("http", "tcp");
    check("getservbyname", service == NULL || (service->s_port == htons(80) && strcmp(service->s_proto, "tcp") == 0), 1);
    check("no such service", getservbyport(htons(1), "sctp-no") ? 0 : WSAGetLastError(), WSANO_DATA);
    protocol = getprotobyname("udp");
    check("getprotobyname", protocol != NULL && protocol->p_proto == IPPROTO_UDP, 1);
    check("getprotobynumber", strcmp(getprotobynumber(6)->p_name, "tcp"), 0);
    check("gethostbyname again", strcmp(gethostbyname("127.0.0.1")->h_name, "127.0.0.1"), 0);
    check("inet_pton", inet_pton(AF_INET, "192.0.2.7", &in), 1);
    check("its value", in.s_addr == inet_addr("192.0.2.7"), 1);
    check("no address", inet_pton(AF_INET6, "192.0.2.7", &in6), 0);
    check("no family", inet_pton(99, "192.0.2.7", &in6) == -1 ? WSAGetLastError() : 0, WSAEAFNOSUPPORT);
    check("IPv6", inet_pton(AF_INET6, "2001:db8::7", &in6), 1);
    check("inet_ntop", inet_ntop(AF_INET6, &in6, text, sizeof text) == text && strcmp(text, "2001:db8::7") == 0, 1);
    check("too short", inet_ntop(AF_INET6, &in6, text, 5) ? 0 : WSAGetLastError(), WSA_INVALID_PARAMETER);
    check("GetAddrInfoW", GetAddrInfoW(number, NULL, NULL, &wide), 0);
    check("GetNameInfoW", GetNameInfoW(wide->ai_addr, (int)wide->ai_addrlen, back, 32, NULL, 0, NI_NUMERICHOST), 0);
    check("the same text", memcmp(number, back, sizeof number), 0);
    FreeAddrInfoW(wide);
    GIVES("WSAHtons", WSAHtons(s, 80, &port));
    check("in network byte order", port == htons(80), 1);
    member.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
    member.imr_interface.s_addr = inet_addr("127.0.0.1");
    GIVES("IP_ADD_MEMBERSHIP", setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (char *)&member, sizeof member));
    FAILS("twice", setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (char *)&member, sizeof member), WSAEADDRINUSE);
    GIVES("IP_DROP_MEMBERSHIP", setsockopt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, (char *)&member, sizeof member));
    member.imr_interface.s_addr = inet_addr("192.0.2.1");
    FAILS("no such interface", setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (char *)&member, sizeof member), WSAEADDRNOTAVAIL);
    closesocket(s);
}

static void names(void) {
    ADDRINFOA hints, *found = NULL;
    char host[64], service[16];
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    check("getaddrinfo", getaddrinfo("127.0.0.1", "5001", &hints, &found), 0);
    check("one result", found != NULL && found->ai_next == NULL, 1);
    check("its family", found->ai_family, AF_INET);
    check("its type", found->ai_socktype, SOCK_STREAM);
    check("its protocol", found->ai_protocol, IPPROTO_TCP);
    check("getnameinfo", getnameinfo(found->ai_addr, (int)found->ai_addrlen, host, sizeof host, service,
                                     sizeof service, NI_NUMERICHOST | NI_NUMERICSERV), 0);
    check("the same address", strcmp(host, "127.0.0.1") == 0 && strcmp(service, "5001") == 0, 1);
    freeaddrinfo(found);
    hints.ai_flags = AI_NUMERICHOST;
    check("not a numeric address", getaddrinfo("localhost", "5001", &hints, &found), EAI_NONAME);
    check("no result", found == NULL, 1);
    hints.ai_flags = AI_PASSIVE;
    hints.ai_family = AF_INET6;
    check("AI_PASSIVE", getaddrinfo(NULL, "5001", &hints, &found), 0);
    check("IPv6", found->ai_family, AF_INET6);
    freeaddrinfo(found);
    check("no such service", getaddrinfo("127.0.0.1", "no-such-service", NULL, &found), EAI_SERVICE);
}

/* A program that exits without WSACleanup leaves no tree on its interfaces. */
static void exit_without_cleanup(void) {
    pid_t child;
    int status = 0;
    run("ip link add gq0 type veth peer name gq1 && ip link set gq0 up && ip link set gq1 up");
    fflush(stdout);
    child = fork();
    if (child == 0) {
        WSADATA data;
        setenv("GQOS_POLICY", getenv("GQOS_OTHER_POLICY"), 1);
        exit(WSAStartup(MAKEWORD(2, 2), &data) || system("tc qdisc show dev gq0 | grep -q 'htb 6771:'"));
    }
    waitpid(child, &status, 0);
    check("a tree while it runs", status, 0);
    run("! tc qdisc show dev gq0 | grep 6771:");
}

int main(void) {
    WSADATA data;
    if (unshare(CLONE_NEWNET)) {
        printf("a network namespace cannot be made: %s\n", strerror(errno));
        return 77;
    }
    alarm(60);
    exit_without_cleanup();
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    codes();
    broadcasts();
    groups();
    notifications();
    overlapped_statuses();
    listeners();
    one_way();
    completions();
    in_order();
    truncated();
    shaped();
    leaves();
    names();
    hosts();
    GIVES("WSACleanup", WSACleanup());
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
