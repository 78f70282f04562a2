/* WSPConnect's table of codes and the calls around it, through the C ABI. Exits with 1 if a check fails. Compiles as
 * C and as C++. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <Winsock2.h>
#include <ws2spi.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <qossp.h>
#include "check.h"

#define SIZE(type, size) typedef char size_of_##type[(sizeof(type) == (size)) ? 1 : -1]
#define PLACE(type, field, place) typedef char place_of_##type##_##field[(offsetof(type, field) == (place)) ? 1 : -1]

SIZE(FLOWSPEC, 32);
PLACE(FLOWSPEC, ServiceType, 20);
typedef struct sockaddr_in in4;
typedef struct sockaddr_in6 in6;
typedef struct sockaddr_storage storage;
SIZE(in4, 16);
SIZE(in6, 28);
SIZE(storage, 128);
SIZE(WSANETWORKEVENTS, 44);
SIZE(WSAPROTOCOL_INFOA, 372);
SIZE(WSAPROTOCOL_INFOW, 628);
SIZE(RSVP_STATUS_INFO, 20);
SIZE(QOS_SD_MODE, 12);
SIZE(QOS_DS_CLASS, 12);
SIZE(QOS_TRAFFIC_CLASS, 12);
SIZE(QOS_DIFFSERV, 16);
SIZE(QOS_FRIENDLY_NAME, 520);
SIZE(RSVP_FILTERSPEC, 24);
SIZE(RSVP_POLICY_INFO, 20);
SIZE(AD_GENERAL_PARAMS, 20);
SIZE(CONTROL_SERVICE, 44);
SIZE(RSVP_ADSPEC, 76);
PLACE(RSVP_FILTERSPEC, FilterSpecV4, 4);
#if UINTPTR_MAX > 0xffffffffu
SIZE(WSABUF, 16);
SIZE(QOS, 80);
PLACE(QOS, ProviderSpecific, 64);
SIZE(WSADATA, 408);
SIZE(WSAPOLLFD, 16);
SIZE(QOS_DESTADDR, 24);
SIZE(RSVP_RESERVE_INFO, 40);
SIZE(FLOWDESCRIPTOR, 48);
SIZE(OVERLAPPED, 32);
SIZE(FD_SET, 520);
#else
SIZE(WSABUF, 8);
SIZE(QOS, 72);
SIZE(WSADATA, 400);
SIZE(QOS_DESTADDR, 16);
SIZE(RSVP_RESERVE_INFO, 28);
SIZE(FLOWDESCRIPTOR, 40);
SIZE(OVERLAPPED, 20);
SIZE(FD_SET, 260);
#endif

static QOS sending(DWORD bytes) { return guaranteed(bytes, 70000); }

static int CALLBACK reject(LPWSABUF caller, LPWSABUF data, LPQOS sqos, LPQOS gqos, LPWSABUF callee, LPWSABUF answer,
                           GROUP *g, DWORD_PTR context) {
    check("  the condition's context", (int)context, 42);
    check("  the caller's id", (int)caller->len, (int)sizeof(struct sockaddr_in));
    (void)data, (void)sqos, (void)gqos, (void)callee, (void)answer, (void)g;
    return CF_REJECT;
}

static void cancel(int signal) {
    (void)signal;
    WSACancelBlockingCall();
}

static void ignore(int signal) { (void)signal; }

static int CALLBACK greet(LPWSABUF caller, LPWSABUF data, LPQOS sqos, LPQOS gqos, LPWSABUF callee, LPWSABUF answer,
                          GROUP *g, DWORD_PTR context) {
    check("  the caller's data", data->len == 3 && memcmp(data->buf, "ask", 3) == 0, 1);
    check("  what it sends is received", (int)sqos->ReceivingFlowspec.TokenRate, 50000);
    check("  space for an answer", answer->len >= 2, 1);
    {
        struct sockaddr_in name = address("127.0.0.1", 1);
        SOCKET other = socket(AF_INET, SOCK_STREAM, 0);
        FAILS("  a blocking call from inside", connect(other, (struct sockaddr *)&name, sizeof name), WSAEINPROGRESS);
        closesocket(other);
    }
    /* This end reserves less than the caller requested. */
    sqos->ReceivingFlowspec.TokenRate = 40000;
    memcpy(answer->buf, "me", 2);
    answer->len = 2;
    (void)caller, (void)gqos, (void)callee, (void)g, (void)context;
    return CF_ACCEPT;
}

/* The status that SIO_GET_QOS returns; 0 without one. */
static int status_of(SOCKET s) {
    struct {
        QOS qos;
        RSVP_STATUS_INFO status;
    } got;
    DWORD size = 0;
    memset(&got, 0, sizeof got);
    GIVES("  SIO_GET_QOS", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &size, NULL, NULL));
    return (int)got.status.StatusCode;
}

/* An inconsistent QOS is WSAEOPNOTSUPP, and SIO_GET_QOS returns the reason: after SIO_SET_QOS on a socket that has a
 * reservation, which it keeps, and after a connect call. */
static void inconsistent(void) {
    static const int reasons[] = {WSA_QOS_EFLOWSPEC, WSA_QOS_EFLOWSPEC, WSA_QOS_ESERVICETYPE, WSA_QOS_ESDMODEOBJ,
                                  WSA_QOS_EUNKOWNPSOBJ, WSA_QOS_BAD_OBJECT};
    QOS_SD_MODE mode = {{QOS_OBJECT_SD_MODE, sizeof mode}, 9};
    struct sockaddr nowhere;
    struct sockaddr_in peer = address("127.0.0.1", 0);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0);
    QOS_DESTADDR destination;
    int i, length = sizeof peer;
    GIVES("bind", bind(listener, (struct sockaddr *)&peer, sizeof peer));
    GIVES("listen", listen(listener, 20));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&peer, &length));
    memset(&nowhere, 0, sizeof nowhere);
    nowhere.sa_family = 99;
    memset(&destination, 0, sizeof destination);
    destination.ObjectHdr.ObjectType = QOS_OBJECT_DESTADDR;
    destination.ObjectHdr.ObjectLength = sizeof destination;
    destination.SocketAddress = &nowhere;
    destination.SocketAddressLength = sizeof nowhere;
    for (i = 0; i < (int)(sizeof reasons / sizeof reasons[0]); i++) {
        SOCKET s = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
        QOS qos = sending(10000), bad;
        DWORD moved = 0;
        GIVES("WSAConnect", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL));
        check("  confirmed", status_of(s), WSA_QOS_REQUEST_CONFIRMED);
        bad = qos;
        mode.ObjectHdr.ObjectType = i == 4 ? 12345 : QOS_OBJECT_SD_MODE;
        if (i == 0)
            bad.SendingFlowspec.TokenRate = 0;
        if (i == 1)
            bad.SendingFlowspec.PeakBandwidth = 10;
        if (i == 2)
            bad.SendingFlowspec.ServiceType = 7;
        if (i == 3 || i == 4)
            bad.ProviderSpecific.buf = (char *)&mode, bad.ProviderSpecific.len = sizeof mode;
        if (i == 5)
            bad.ProviderSpecific.buf = (char *)&destination, bad.ProviderSpecific.len = sizeof destination;
        FAILS("inconsistent", WSAIoctl(s, SIO_SET_QOS, &bad, sizeof bad, NULL, 0, &moved, NULL, NULL), WSAEOPNOTSUPP);
        check("  its reason", status_of(s), reasons[i]);
        GIVES("SIO_SET_QOS", WSAIoctl(s, SIO_SET_QOS, &qos, sizeof qos, NULL, 0, &moved, NULL, NULL));
        check("  confirmed", status_of(s), WSA_QOS_REQUEST_CONFIRMED);
        FAILS("inconsistent", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &bad, NULL), WSAEISCONN);
        check("  its state comes first", status_of(s), WSA_QOS_REQUEST_CONFIRMED);
        FAILS("inconsistent", WSAConnect(other, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &bad, NULL),
              WSAEOPNOTSUPP);
        check("  its reason", status_of(other), reasons[i]);
        closesocket(s), closesocket(other);
    }
    closesocket(listener);
}

/* A name ends where its buffer does, or with a zero before. */
static void names(SOCKET s) {
    static char longer[] = "G711XYZ";
    const int page = (int)sysconf(_SC_PAGESIZE), zeroes = open("/dev/zero", O_RDWR);
    char *pages = (char *)mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE, zeroes, 0);
    QOS got;
    WSABUF name;
    name.buf = longer, name.len = 4;
    check("WSAGetQOSByName", WSAGetQOSByName(s, &name, &got), 1);
    check("its rate", (int)got.SendingFlowspec.TokenRate, 10000);
    for (name.len = 1; name.len < sizeof longer; name.len++)
        if (name.len != 4)
            check("other lengths", WSAGetQOSByName(s, &name, &got) ? 0 : WSAGetLastError(), WSAEINVAL);
    name.len = 0;
    check("no name", WSAGetQOSByName(s, &name, &got) ? 0 : WSAGetLastError(), WSAEFAULT);
    check("two pages", pages != MAP_FAILED && munmap(pages + page, (size_t)page) == 0, 1);
    name.buf = pages + page - 4, name.len = 4;
    memcpy(name.buf, "g711", 4);
    check("a name at the end of a page", WSAGetQOSByName(s, &name, &got), 1);
    name.len = 5;
    check("a length beyond it", WSAGetQOSByName(s, &name, &got) ? 0 : WSAGetLastError(), WSAEFAULT);
    munmap(pages, (size_t)page);
    close(zeroes);
}

int main(void) {
    WSADATA data;
    struct sockaddr_in name = address("127.0.0.1", 9), peer;
    int length = sizeof peer, error = 0;
    SOCKET s, listener, client, server;
    QOS qos, got;
    WSABUF buffer;
    DWORD moved = 0, flags = 0;
    char text[64];
    u_long on = 1;

    /* Ends the program where a call waits without end. */
    alarm(60);
    check("before WSAStartup", socket(AF_INET, SOCK_STREAM, 0) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSANOTINITIALISED);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    check("its version", data.wVersion, MAKEWORD(2, 2));

    listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    name = address("127.0.0.1", 0);
    GIVES("bind", bind(listener, (struct sockaddr *)&name, sizeof name));
    FAILS("bind twice", bind(listener, (struct sockaddr *)&name, sizeof name), WSAEINVAL);
    GIVES("listen", listen(listener, SOMAXCONN));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&peer, &length));
    check("its length", length, sizeof peer);

    s = socket(AF_INET, SOCK_STREAM, 0);
    FAILS("not a socket", connect((SOCKET)12345, (struct sockaddr *)&peer, sizeof peer), WSAENOTSOCK);
    FAILS("above every descriptor", connect(((SOCKET)1 << (8 * sizeof(SOCKET) - 1)) + s, (struct sockaddr *)&peer, sizeof peer), WSAENOTSOCK);
    FAILS("name NULL", connect(s, NULL, sizeof peer), WSAEFAULT);
    FAILS("name not mapped", connect(s, (struct sockaddr *)(uintptr_t)8, sizeof peer), WSAEFAULT);
    FAILS("namelen too small", connect(s, (struct sockaddr *)&peer, 15), WSAEFAULT);
    name = peer;
    name.sin_family = AF_INET6;
    FAILS("another family", connect(s, (struct sockaddr *)&name, sizeof name), WSAEAFNOSUPPORT);
    FAILS("a listener", connect(listener, (struct sockaddr *)&peer, sizeof peer), WSAEINVAL);
    name = address("0.0.0.0", 80);
    FAILS("no address", connect(s, (struct sockaddr *)&name, sizeof name), WSAEADDRNOTAVAIL);
    FAILS("SQOS not mapped", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, (LPQOS)(uintptr_t)8, NULL),
          WSAEFAULT);
    FAILS("GQOS not mapped", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, NULL, (LPQOS)(uintptr_t)8),
          WSAEFAULT);
    buffer.len = 5;
    buffer.buf = NULL;
    FAILS("callee data NULL", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, &buffer, NULL, NULL), WSAEFAULT);
    buffer.buf = text;
    buffer.len = 1 << 20;
    FAILS("caller data too large", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, &buffer, NULL, NULL, NULL), WSAEFAULT);
    qos = sending(2000000);
    FAILS("more than is available", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL), WSAEOPNOTSUPP);
    qos.SendingFlowspec.TokenRate = 0;
    FAILS("an inconsistent flowspec", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL), WSAEOPNOTSUPP);
    buffer.len = 5;
    FAILS("caller data", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, &buffer, NULL, NULL, NULL), WSAEPROTONOSUPPORT);
    name = address("127.0.0.1", 1);
    FAILS("nothing listens", connect(s, (struct sockaddr *)&name, sizeof name), WSAECONNREFUSED);

    /* With a QOS, on the same socket. */
    qos = sending(400000);
    buffer.len = sizeof text;
    GIVES("WSAConnect with a QOS", WSAConnect(s, (struct sockaddr *)&peer, sizeof peer, NULL, &buffer, &qos, NULL));
    check("no callee data", (int)buffer.len, 0);
    FAILS("connected", connect(s, (struct sockaddr *)&peer, sizeof peer), WSAEISCONN);
    client = socket(AF_INET, SOCK_STREAM, 0);
    qos = sending(700000);
    FAILS("more than the rest", WSAConnect(client, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL), WSAEOPNOTSUPP);
    GIVES("SIO_GET_QOS", WSAIoctl(s, SIO_GET_QOS, NULL, 0, &got, sizeof got, &moved, NULL, NULL));
    check("its rate", (int)got.SendingFlowspec.TokenRate, 400000);
    FAILS("SIO_SET_QOS, too much", WSAIoctl(s, SIO_SET_QOS, (qos = sending(1200000), &qos), sizeof qos, NULL, 0, &moved, NULL, NULL), WSAEOPNOTSUPP);
    GIVES("SIO_SET_QOS", WSAIoctl(s, SIO_SET_QOS, (qos = sending(200000), &qos), sizeof qos, NULL, 0, &moved, NULL, NULL));
    qos = sending(700000);
    GIVES("the released rate is available", WSAConnect(client, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL));

    server = accept(listener, NULL, NULL);
    check("accept", server != INVALID_SOCKET, 1);
    check("send", send(s, "hello", 5, 0), 5);
    check("recv", recv(server, text, sizeof text, 0), 5);
    buffer.buf = text;
    buffer.len = 3;
    GIVES("WSASend", WSASend(server, &buffer, 1, &moved, 0, NULL, NULL));
    buffer.len = sizeof text;
    GIVES("WSARecv", WSARecv(s, &buffer, 1, &moved, &flags, NULL, NULL));
    check("bytes transferred", (int)moved, 3);

    /* The next connection is rejected. */
    check("WSAAccept, rejecting", WSAAccept(listener, NULL, NULL, reject, 42) == INVALID_SOCKET ? WSAGetLastError() : 0,
          WSAECONNREFUSED);
    GIVES("closesocket", closesocket(client));
    FAILS("closesocket twice", closesocket(client), WSAENOTSOCK);

    /* Non-blocking. */
    client = socket(AF_INET, SOCK_STREAM, 0);
    GIVES("ioctlsocket", ioctlsocket(client, FIONBIO, &on));
    {
        fd_set writable, failed;
        struct timeval time = {5, 0};
        int result = connect(client, (struct sockaddr *)&peer, sizeof peer);
        check("non-blocking connect", result == 0 || WSAGetLastError() == WSAEWOULDBLOCK, 1);
        FD_ZERO(&writable);
        FD_ZERO(&failed);
        FD_SET(client, &writable);
        FD_SET(client, &failed);
        check("select", select(0, NULL, &writable, &failed, &time), 1);
        check("writable", FD_ISSET(client, &writable), 1);
        check("not failed", FD_ISSET(client, &failed), 0);
    }
    check("non-blocking recv", recv(client, text, 1, 0) == SOCKET_ERROR ? WSAGetLastError() : 0, WSAEWOULDBLOCK);
    closesocket(client);

    /* Datagrams. */
    client = socket(AF_INET, SOCK_DGRAM, 0);
    name = address("255.255.255.255", 9);
    FAILS("broadcast", connect(client, (struct sockaddr *)&name, sizeof name), WSAEACCES);
    GIVES("connect", connect(client, (struct sockaddr *)&peer, sizeof peer));
    name = address("0.0.0.0", 0);
    GIVES("disconnect", connect(client, (struct sockaddr *)&name, sizeof name));
    check("send without a peer", send(client, "x", 1, 0) == SOCKET_ERROR ? WSAGetLastError() : 0, WSAENOTCONN);
    closesocket(client);

    /* The service provider interface. */
    {
        WSPPROC_TABLE table;
        WSPUPCALLTABLE upcalls;
        WSPDATA description;
        memset(&upcalls, 0, sizeof upcalls);
        check("WSPStartup", WSPStartup(MAKEWORD(2, 2), &description, NULL, upcalls, &table), 0);
        check("WSPConnect", table.lpWSPConnect((SOCKET)12345, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, NULL, NULL, &error), SOCKET_ERROR);
        check("its error", error, WSAENOTSOCK);
        check("WSPCleanup", table.lpWSPCleanup(&error), 0);
    }
    {
        DWORD capacity = 0;
        WSAPROTOCOL_INFOA protocols[16];
        FAILS("WSAEnumProtocols with too small a buffer", WSAEnumProtocolsA(NULL, NULL, &capacity), WSAENOBUFS);
        capacity = sizeof protocols;
        check("WSAEnumProtocols", WSAEnumProtocolsA(NULL, protocols, &capacity), 10);
        check("the first supports QOS", (protocols[0].dwServiceFlags1 & XP1_QOS_SUPPORTED) != 0, 1);
    }
    strcpy(text, "G711");
    buffer.buf = text;
    buffer.len = sizeof text;
    check("WSAGetQOSByName", WSAGetQOSByName(s, &buffer, &got), 1);
    check("its rate", (int)got.SendingFlowspec.TokenRate, 10000);
    names(s);

    /* After fork the child has to call WSAStartup, and sockets that it closes stay open in the parent. */
    fflush(stdout);
    {
        pid_t child = fork();
        int status = -1;
        if (child == 0) {
            SOCKET own;
            int right = socket(AF_INET, SOCK_STREAM, 0) == INVALID_SOCKET && WSAGetLastError() == WSANOTINITIALISED;
            right = right && WSAStartup(MAKEWORD(2, 2), &data) == 0;
            own = socket(AF_INET, SOCK_STREAM, 0);
            qos = sending(300000);
            right = right && WSAConnect(own, (struct sockaddr *)&peer, sizeof peer, NULL, NULL, &qos, NULL) == 0;
            right = right && closesocket(listener) == 0 && closesocket(s) == 0 && closesocket(own) == 0;
            _exit(right ? 0 : 1);
        }
        check("the child exits", waitpid(child, &status, 0) == child && WIFEXITED(status), 1);
        check("its status", WEXITSTATUS(status), 0);
        check("the connection is open", send(s, "still", 5, 0), 5);
        check("at both ends", recv(server, text, sizeof text, 0), 5);
        client = accept(listener, NULL, NULL);
        check("the listener accepts", client != INVALID_SOCKET, 1);
        closesocket(client);
    }

    /* Overlapped: pending, incomplete, complete. */
    {
        WSAOVERLAPPED overlapped;
        DWORD none = 0;
        memset(&overlapped, 0, sizeof overlapped);
        overlapped.hEvent = WSACreateEvent();
        buffer.buf = text;
        buffer.len = sizeof text;
        FAILS("WSARecv, overlapped", WSARecv(server, &buffer, 1, &moved, &none, &overlapped, NULL), WSA_IO_PENDING);
        check("incomplete", WSAGetOverlappedResult(server, &overlapped, &moved, FALSE, &none) ? 0 : WSAGetLastError(), WSA_IO_INCOMPLETE);
        check("send", send(s, "later", 5, 0), 5);
        check("its event", WSAWaitForMultipleEvents(1, &overlapped.hEvent, TRUE, 5000, FALSE) == WSA_WAIT_EVENT_0, 1);
        check("complete", WSAGetOverlappedResult(server, &overlapped, &moved, TRUE, &none), TRUE);
        check("bytes transferred", (int)moved, 5);
        check("the data", memcmp(text, "later", 5), 0);
        WSACloseEvent(overlapped.hEvent);
    }

    /* A signal handler ends a blocking call only if it cancels the call. */
    signal(SIGALRM, ignore);
    {
        struct itimerval soon = {{0, 0}, {0, 20000}};
        fd_set readable;
        struct timeval time = {0, 100000};
        FD_ZERO(&readable);
        FD_SET(server, &readable);
        setitimer(ITIMER_REAL, &soon, NULL);
        check("a handler that does not cancel", select(0, &readable, NULL, NULL, &time), 0);
        signal(SIGALRM, cancel);
        setitimer(ITIMER_REAL, &soon, NULL);
        FAILS("a cancelled call", recv(server, text, sizeof text, 0), WSAEINTR);
        FAILS("nothing to cancel", WSACancelBlockingCall(), WSAEINVAL);
    }

    /* Connect data, by the protocol of the catalogue that has it. */
    {
        WSAPROTOCOL_INFOA protocols[16];
        DWORD capacity = sizeof protocols;
        int count = WSAEnumProtocolsA(NULL, protocols, &capacity), i, with_data = -1;
        SOCKET called, caller, answered;
        WSAEVENT event = WSACreateEvent();
        WSANETWORKEVENTS events;
        WSABUF question, answer;
        char answer_text[16] = "";
        for (i = 0; i < count; i++)
            if ((protocols[i].dwServiceFlags1 & XP1_CONNECT_DATA) && protocols[i].iAddressFamily == AF_INET)
                with_data = i;
        check("a protocol with connect data", with_data >= 0, 1);
        called = WSASocketA(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &protocols[with_data], 0, 0);
        caller = WSASocketA(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &protocols[with_data], 0, WSA_FLAG_OVERLAPPED);
        name = address("127.0.0.1", 0);
        GIVES("bind", bind(called, (struct sockaddr *)&name, sizeof name));
        GIVES("listen", listen(called, 5));
        length = sizeof name;
        GIVES("getsockname", getsockname(called, (struct sockaddr *)&name, &length));
        GIVES("WSAEventSelect", WSAEventSelect(caller, event, FD_CONNECT));
        strcpy(text, "ask");
        question.buf = text;
        question.len = 3;
        answer.buf = answer_text;
        answer.len = sizeof answer_text;
        qos = sending(50000);
        FAILS("WSAConnect with data", WSAConnect(caller, (struct sockaddr *)&name, sizeof name, &question, &answer, &qos, NULL), WSAEWOULDBLOCK);
        answered = WSAAccept(called, NULL, NULL, greet, 0);
        check("WSAAccept", answered != INVALID_SOCKET, 1);
        check("FD_CONNECT", WSAWaitForMultipleEvents(1, &event, FALSE, 5000, FALSE) == WSA_WAIT_EVENT_0, 1);
        GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(caller, event, &events));
        check("its code", events.iErrorCode[FD_CONNECT_BIT], 0);
        check("the callee's length", (int)answer.len, 2);
        check("the callee's data", strncmp(answer_text, "me", 2), 0);
        GIVES("SIO_GET_QOS", WSAIoctl(answered, SIO_GET_QOS, NULL, 0, &got, sizeof got, &moved, NULL, NULL));
        check("the QOS of the condition function", (int)got.ReceivingFlowspec.TokenRate, 40000);
        GIVES("SIO_GET_QOS", WSAIoctl(caller, SIO_GET_QOS, NULL, 0, &got, sizeof got, &moved, NULL, NULL));
        check("the caller's QOS is unchanged", (int)got.SendingFlowspec.TokenRate, 50000);
        closesocket(called);
        closesocket(caller);
        closesocket(answered);
        WSACloseEvent(event);
    }

    {
        WSAEVENT event = WSACreateEvent();
        WSANETWORKEVENTS events;
        GIVES("WSAEventSelect", WSAEventSelect(server, event, FD_READ | FD_CLOSE));
        check("nothing yet", WSAWaitForMultipleEvents(1, &event, FALSE, 0, FALSE) == WSA_WAIT_TIMEOUT, 1);
        closesocket(s);
        check("the peer closes", WSAWaitForMultipleEvents(1, &event, FALSE, 5000, FALSE) == WSA_WAIT_EVENT_0, 1);
        GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(server, event, &events));
        check("FD_CLOSE", (events.lNetworkEvents & FD_CLOSE) != 0, 1);
        check("an orderly close", events.iErrorCode[FD_CLOSE_BIT], 0);
        check("WSACloseEvent", WSACloseEvent(event), TRUE);
    }
    inconsistent();
    GIVES("WSACleanup", WSACleanup());
    FAILS("WSACleanup without a start", WSACleanup(), WSANOTINITIALISED);
    printf(wrong ? "WRONG\n" : "RIGHT\n");
    return wrong;
}
