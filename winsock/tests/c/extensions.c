/* Messages with control data, AcceptEx, DisconnectEx, TransmitFile, connections by name and by list, duplicated sockets,
 * extended look-ups, options, and functions without a meaning here. Compiles as C and as C++. */
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <mstcpip.h>
#include <ws2spi.h>
#include "check.h"

#ifndef __cplusplus
/* Standard C alone does not declare it. */
extern int fileno(FILE *file);
#endif

/* The pointer to an extension function. */
static void *extension(SOCKET s, GUID id) {
    void *function = NULL;
    DWORD size = 0;
    GIVES("SIO_GET_EXTENSION_FUNCTION_POINTER", WSAIoctl(s, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &function,
                                                         sizeof function, &size, NULL, NULL));
    return function;
}

static SOCKET bound(int type, struct sockaddr_in *name) {
    SOCKET s = socket(AF_INET, type, 0);
    int length = sizeof *name;
    *name = address("127.0.0.1", 0);
    GIVES("bind", bind(s, (struct sockaddr *)name, sizeof *name));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)name, &length));
    return s;
}

static DWORD result_of(SOCKET s, OVERLAPPED *overlapped) {
    DWORD transferred = 0, flags = 0;
    check("WSAGetOverlappedResult", WSAGetOverlappedResult(s, overlapped, &transferred, TRUE, &flags), TRUE);
    return transferred;
}

static void messages(void) {
    struct sockaddr_in from, to, sender;
    SOCKET receiver = bound(SOCK_DGRAM, &to), source = bound(SOCK_DGRAM, &from);
    char first[4], second[64], control[128];
    WSABUF parts[2], pieces[2];
    WSAMSG message;
    LPWSACMSGHDR header;
    DWORD sent = 0, received = 0, on = 1;
    GUID receive_id = WSAID_WSARECVMSG, send_id = WSAID_WSASENDMSG;
    LPFN_WSARECVMSG receive = (LPFN_WSARECVMSG)extension(receiver, receive_id);
    LPFN_WSASENDMSG send_message = (LPFN_WSASENDMSG)extension(source, send_id);

    GIVES("IP_PKTINFO", setsockopt(receiver, IPPROTO_IP, IP_PKTINFO, (char *)&on, sizeof on));
    parts[0].buf = (char *)"one ", parts[0].len = 4;
    parts[1].buf = (char *)"datagram", parts[1].len = 8;
    memset(&message, 0, sizeof message);
    message.name = (LPSOCKADDR)&to;
    message.namelen = sizeof to;
    message.lpBuffers = parts;
    message.dwBufferCount = 2;
    GIVES("WSASendMsg", send_message(source, &message, 0, &sent, NULL, NULL));
    check("sent", (int)sent, 12);

    pieces[0].buf = first, pieces[0].len = sizeof first;
    pieces[1].buf = second, pieces[1].len = sizeof second;
    memset(&message, 0, sizeof message);
    message.name = (LPSOCKADDR)&sender;
    message.namelen = sizeof sender;
    message.lpBuffers = pieces;
    message.dwBufferCount = 2;
    message.Control.buf = control;
    message.Control.len = sizeof control;
    GIVES("WSARecvMsg", receive(receiver, &message, &received, NULL, NULL));
    check("received", (int)received, 12);
    check("the first buffer", memcmp(first, "one ", 4), 0);
    check("the second buffer", memcmp(second, "datagram", 8), 0);
    check("the sender", sender.sin_port == from.sin_port, 1);
    check("flags", (int)message.dwFlags, 0);
    header = WSA_CMSG_FIRSTHDR(&message);
    check("control data", header != NULL, 1);
    if (header) {
        IN_PKTINFO info;
        memcpy(&info, WSA_CMSG_DATA(header), sizeof info);
        check("its level", header->cmsg_level, IPPROTO_IP);
        check("its type", header->cmsg_type, IP_PKTINFO);
        check("the packet's address", info.ipi_addr.s_addr == inet_addr("127.0.0.1"), 1);
        check("its interface", info.ipi_ifindex != 0, 1);
        check("the next header", WSA_CMSG_NXTHDR(&message, header) == NULL, 1);
    }

    /* With too little space, and from a chosen address. */
    message.Control.len = 0;
    pieces[0].len = 2;
    message.dwBufferCount = 1;
    message.dwFlags = 0;
    {
        WSAMSG chosen;
        char space[WSA_CMSG_SPACE(sizeof(IN_PKTINFO))];
        IN_PKTINFO info;
        memset(&chosen, 0, sizeof chosen);
        memset(space, 0, sizeof space);
        chosen.name = (LPSOCKADDR)&to;
        chosen.namelen = sizeof to;
        chosen.lpBuffers = parts;
        chosen.dwBufferCount = 2;
        chosen.Control.buf = space;
        chosen.Control.len = sizeof space;
        header = WSA_CMSG_FIRSTHDR(&chosen);
        header->cmsg_len = WSA_CMSG_LEN(sizeof info);
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        memset(&info, 0, sizeof info);
        info.ipi_addr.s_addr = inet_addr("127.0.0.1");
        memcpy(WSA_CMSG_DATA(header), &info, sizeof info);
        GIVES("WSASendMsg with a source", WSASendMsg(source, &chosen, 0, &sent, NULL, NULL));
        header->cmsg_type = 9999;
        FAILS("WSASendMsg with an unknown item", WSASendMsg(source, &chosen, 0, &sent, NULL, NULL), WSAEINVAL);
    }
    FAILS("WSARecvMsg of a longer datagram", receive(receiver, &message, &received, NULL, NULL), WSAEMSGSIZE);
    check("MSG_TRUNC and MSG_CTRUNC", (int)(message.dwFlags & (MSG_TRUNC | MSG_CTRUNC)), MSG_TRUNC | MSG_CTRUNC);
    closesocket(receiver);
    closesocket(source);
}

/* What an accept socket refuses while an AcceptEx waits with it. */
static void waiting_for_adoption(SOCKET listener, SOCKET accepted) {
    enum { ADDRESS = sizeof(struct sockaddr_in) + 16 };
    struct sockaddr_in name = address("127.0.0.1", 0), peer;
    char output[2 * ADDRESS];
    OVERLAPPED second;
    GUID connect_id = WSAID_CONNECTEX;
    LPFN_CONNECTEX connect_function = (LPFN_CONNECTEX)extension(listener, connect_id);
    DWORD size = 0;
    int length = sizeof peer;
    memset(&second, 0, sizeof second);
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&peer, &length));
    check("a second AcceptEx", AcceptEx(listener, accepted, output, 0, ADDRESS, ADDRESS, &size, &second), FALSE);
    check("its error", WSAGetLastError(), WSAEINVAL);
    check("its OVERLAPPED is left alone", (int)second.Internal, 0);
    FAILS("bind", bind(accepted, (struct sockaddr *)&name, sizeof name), WSAEINVAL);
    FAILS("connect", connect(accepted, (struct sockaddr *)&peer, sizeof peer), WSAEINVAL);
    check("ConnectEx", connect_function(accepted, (struct sockaddr *)&peer, sizeof peer, NULL, 0, &size, &second), FALSE);
    check("its error", WSAGetLastError(), WSAEINVAL);
    FAILS("listen", listen(accepted, 1), WSAEINVAL);
}

static void accept_ex(void) {
    enum { ADDRESS = sizeof(struct sockaddr_in) + 16, DATA = 64 };
    struct sockaddr_in name, *local = NULL, *remote = NULL;
    SOCKET listener = bound(SOCK_STREAM, &name), accepted = socket(AF_INET, SOCK_STREAM, 0), client;
    char output[DATA + 2 * ADDRESS], text[32];
    OVERLAPPED overlapped;
    GUID accept_id = WSAID_ACCEPTEX, disconnect_id = WSAID_DISCONNECTEX, addresses_id = WSAID_GETACCEPTEXSOCKADDRS;
    LPFN_ACCEPTEX accept_function = (LPFN_ACCEPTEX)extension(listener, accept_id);
    LPFN_DISCONNECTEX disconnect = (LPFN_DISCONNECTEX)extension(listener, disconnect_id);
    LPFN_GETACCEPTEXSOCKADDRS addresses = (LPFN_GETACCEPTEXSOCKADDRS)extension(listener, addresses_id);
    DWORD received = 0, transferred;
    int local_length = 0, remote_length = 0, round;

    memset(&overlapped, 0, sizeof overlapped);
    check("AcceptEx before listen",
          accept_function(listener, accepted, output, 0, ADDRESS, ADDRESS, &received, &overlapped), FALSE);
    check("its error", WSAGetLastError(), WSAEINVAL);
    GIVES("listen", listen(listener, 5));
    check("AcceptEx without an OVERLAPPED", AcceptEx(listener, accepted, output, 0, ADDRESS, ADDRESS, &received, NULL),
          FALSE);
    check("its error", WSAGetLastError(), ERROR_INVALID_PARAMETER);
    check("AcceptEx with short addresses",
          AcceptEx(listener, accepted, output, 0, ADDRESS - 1, ADDRESS, &received, &overlapped), FALSE);
    check("its error", WSAGetLastError(), WSAEFAULT);

    /* A call that fails leaves the SOCKET as it was. */
    check("AcceptEx with a count that is not mapped",
          AcceptEx(listener, accepted, output, 0, ADDRESS, ADDRESS, (LPDWORD)(uintptr_t)8, &overlapped), FALSE);
    check("its error", WSAGetLastError(), WSAEFAULT);

    /* The same SOCKET twice: DisconnectEx makes it as new. */
    for (round = 0; round < 2; round++) {
        memset(&overlapped, 0, sizeof overlapped);
        overlapped.hEvent = WSACreateEvent();
        check("AcceptEx", AcceptEx(listener, accepted, output, DATA, ADDRESS, ADDRESS, &received, &overlapped), FALSE);
        check("its error", WSAGetLastError(), ERROR_IO_PENDING);
        waiting_for_adoption(listener, accepted);
        client = socket(AF_INET, SOCK_STREAM, 0);
        GIVES("connect", connect(client, (struct sockaddr *)&name, sizeof name));
        check("it waits for data", (int)WSAWaitForMultipleEvents(1, &overlapped.hEvent, TRUE, 50, FALSE), WSA_WAIT_TIMEOUT);
        check("send", send(client, "hello", 5, 0), 5);
        transferred = result_of(listener, &overlapped);
        check("data", (int)transferred, 5);
        check("its text", memcmp(output, "hello", 5), 0);
        addresses(output, DATA, ADDRESS, ADDRESS, (struct sockaddr **)&local, &local_length, (struct sockaddr **)&remote,
                  &remote_length);
        check("the local address", local && local->sin_port == name.sin_port, 1);
        check("the remote address", remote && remote->sin_addr.s_addr == inet_addr("127.0.0.1"), 1);
        check("lengths", local_length + remote_length, 2 * (int)sizeof(struct sockaddr_in));
        GIVES("SO_UPDATE_ACCEPT_CONTEXT", setsockopt(accepted, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (char *)&listener,
                                                     sizeof listener));
        check("the answer", send(accepted, "back", 4, 0), 4);
        check("its receipt", recv(client, text, sizeof text, 0), 4);
        check("DisconnectEx", disconnect(accepted, NULL, TF_REUSE_SOCKET, 0), TRUE);
        check("the end", recv(client, text, sizeof text, 0), 0);
        FAILS("send afterwards", send(accepted, "x", 1, 0), WSAENOTCONN);
        closesocket(client);
        WSACloseEvent(overlapped.hEvent);
    }
    closesocket(accepted);
    closesocket(listener);
}

static void transmit(void) {
    struct sockaddr_in name;
    SOCKET listener = bound(SOCK_STREAM, &name), client = socket(AF_INET, SOCK_STREAM, 0), server;
    TRANSMIT_FILE_BUFFERS around;
    TRANSMIT_PACKETS_ELEMENT elements[2];
    OVERLAPPED overlapped;
    GUID packets_id = WSAID_TRANSMITPACKETS;
    LPFN_TRANSMITPACKETS packets = (LPFN_TRANSMITPACKETS)extension(listener, packets_id);
    char text[64];
    FILE *file = tmpfile();
    HANDLE handle = (HANDLE)_get_osfhandle(fileno(file));
    int got = 0, part;

    fputs("0123456789", file);
    fflush(file);
    GIVES("listen", listen(listener, 5));
    GIVES("connect", connect(client, (struct sockaddr *)&name, sizeof name));
    server = accept(listener, NULL, NULL);
    around.Head = (void *)"<", around.HeadLength = 1;
    around.Tail = (void *)">", around.TailLength = 1;
    memset(&overlapped, 0, sizeof overlapped);
    overlapped.Offset = 2;
    check("TransmitFile", TransmitFile(server, handle, 6, 0, &overlapped, &around, 0), FALSE);
    check("its error", WSAGetLastError(), ERROR_IO_PENDING);
    check("transmitted", (int)result_of(server, &overlapped), 8);
    rewind(file);
    check("TransmitFile that waits", TransmitFile(server, handle, 0, 0, NULL, NULL, 0), TRUE);
    memset(elements, 0, sizeof elements);
    elements[0].dwElFlags = TP_ELEMENT_MEMORY;
    elements[0].cLength = 1;
    elements[0].pBuffer = (void *)"[";
    elements[1].dwElFlags = TP_ELEMENT_FILE;
    elements[1].cLength = 3;
    elements[1].nFileOffset.QuadPart = 7;
    elements[1].hFile = handle;
    check("TransmitPackets", packets(server, elements, 2, 0, NULL, TF_DISCONNECT), TRUE);
    while ((part = recv(client, text + got, (int)sizeof text - got, 0)) > 0)
        got += part;
    check("received", got, 22);
    check("the text", memcmp(text, "<234567>0123456789[789", 22), 0);
    check("TransmitFile without a file", TransmitFile(server, (HANDLE)(intptr_t)12345, 0, 0, NULL, NULL, 0), FALSE);
    check("its error", WSAGetLastError(), ERROR_INVALID_HANDLE);
    fclose(file);
    closesocket(server);
    closesocket(client);
    closesocket(listener);
}

static void by_name(void) {
    struct sockaddr_in name, local, remote, closed;
    SOCKET listener = bound(SOCK_STREAM, &name), s, unused = bound(SOCK_STREAM, &closed);
    SOCKET_ADDRESS_LIST *list = (SOCKET_ADDRESS_LIST *)calloc(1, SIZEOF_SOCKET_ADDRESS_LIST(2));
    DWORD local_length = sizeof local, remote_length = sizeof remote;
    struct timeval limit = {5, 0};
    DWORD both = 1;
    char port[16];
    ADDRINFOEXA hints, *found = NULL;
    char host[256];

    closesocket(unused);
    GIVES("listen", listen(listener, 5));
    sprintf(port, "%u", (unsigned)ntohs(name.sin_port));
    s = socket(AF_INET, SOCK_STREAM, 0);
    check("WSAConnectByName", WSAConnectByNameA(s, "127.0.0.1", port, &local_length, (LPSOCKADDR)&local, &remote_length,
                                                (LPSOCKADDR)&remote, &limit, NULL), TRUE);
    check("the remote port", remote.sin_port == name.sin_port, 1);
    check("the local address", local.sin_addr.s_addr == inet_addr("127.0.0.1"), 1);
    closesocket(s);
    s = socket(AF_INET6, SOCK_STREAM, 0);
    check("WSAConnectByName of another family", WSAConnectByNameA(s, "127.0.0.1", port, NULL, NULL, NULL, NULL, NULL, NULL),
          FALSE);
    check("its error", WSAGetLastError(), WSAEHOSTUNREACH);
    both = 0;
    GIVES("IPV6_V6ONLY", setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, (char *)&both, sizeof both));
    check("WSAConnectByName of both families",
          WSAConnectByNameA(s, "127.0.0.1", port, NULL, NULL, NULL, NULL, &limit, NULL), TRUE);
    closesocket(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    list->iAddressCount = 2;
    list->Address[0].lpSockaddr = (LPSOCKADDR)&closed;
    list->Address[0].iSockaddrLength = sizeof closed;
    list->Address[1].lpSockaddr = (LPSOCKADDR)&name;
    list->Address[1].iSockaddrLength = sizeof name;
    check("WSAConnectByList", WSAConnectByList(s, list, NULL, NULL, NULL, NULL, &limit, NULL), TRUE);
    closesocket(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    list->iAddressCount = 1;
    check("WSAConnectByList without a listener", WSAConnectByList(s, list, NULL, NULL, NULL, NULL, NULL, NULL), FALSE);
    check("its error", WSAGetLastError(), WSAECONNREFUSED);
    closesocket(s);
    closesocket(listener);
    free(list);

    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    check("GetAddrInfoEx", GetAddrInfoExA("127.0.0.1", "80", NS_DNS, NULL, &hints, &found, NULL, NULL, NULL, NULL), 0);
    check("its port", found && ((struct sockaddr_in *)found->ai_addr)->sin_port == htons(80), 1);
    check("its end", found && found->ai_next == NULL, 1);
    FreeAddrInfoEx(found);
    check("gai_strerror", strstr(gai_strerrorA(EAI_NONAME), "WSAHOST_NOT_FOUND") != NULL, 1);
    GIVES("gethostname", gethostname(host, sizeof host));
}

/* Source filters, backlogs and registered I/O are refused, so that a program takes its other path. */
static void refused_extensions(void) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in group = address("239.1.2.3", 0);
    IN_ADDR any, sources[2];
    SOCKADDR_STORAGE names[2];
    MULTICAST_MODE_TYPE mode = MCAST_INCLUDE;
    ULONG count = 2, backlog = 0;
    RIO_EXTENSION_FUNCTION_TABLE table;
    GUID id = WSAID_MULTIPLE_RIO;
    DWORD size = 0;
    any.s_addr = INADDR_ANY;
    memset(sources, 0, sizeof sources);
    memset(names, 0, sizeof names);
    FAILS("setipv4sourcefilter", setipv4sourcefilter(s, any, group.sin_addr, MCAST_EXCLUDE, 2, sources), WSAEOPNOTSUPP);
    FAILS("  without sources", setipv4sourcefilter(s, any, group.sin_addr, MCAST_EXCLUDE, 0, NULL), WSAEOPNOTSUPP);
    FAILS("getipv4sourcefilter", getipv4sourcefilter(s, any, group.sin_addr, &mode, &count, sources), WSAEOPNOTSUPP);
    FAILS("setsourcefilter", setsourcefilter(s, 1, (SOCKADDR *)&group, sizeof group, MCAST_INCLUDE, 2, names), WSAEOPNOTSUPP);
    FAILS("  of a longer address", setsourcefilter(s, 1, (SOCKADDR *)&group, 129, MCAST_INCLUDE, 0, NULL), WSAEINVAL);
    FAILS("getsourcefilter", getsourcefilter(s, 1, (SOCKADDR *)&group, sizeof group, &mode, &count, names), WSAEOPNOTSUPP);
    check("the count is left alone", (int)count, 2);
    FAILS("idealsendbacklogquery", idealsendbacklogquery(s, &backlog), WSAEOPNOTSUPP);
    FAILS("idealsendbacklognotify", idealsendbacklognotify(s, NULL, NULL), WSAEOPNOTSUPP);
    memset(&table, 0, sizeof table);
    FAILS("SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER",
          WSAIoctl(s, SIO_GET_MULTIPLE_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &table, sizeof table, &size, NULL, NULL),
          WSAEOPNOTSUPP);
    check("no function", table.RIOSend == NULL, 1);
    closesocket(s);
}

static void options(void) {
    SOCKET s = socket(AF_INET6, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
    struct tcp_keepalive keepalive = {1, 5000, 1500};
    DWORD value = 7, size = 0;
    int length = sizeof value;
    GIVES("IPV6_MULTICAST_HOPS", setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, (char *)&value, sizeof value));
    value = 0;
    GIVES("and back", getsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, (char *)&value, &length));
    check("its value", (int)value, 7);
    value = 1;
    GIVES("IPV6_MULTICAST_IF", setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, (char *)&value, sizeof value));
    GIVES("IPV6_MULTICAST_LOOP", setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, (char *)&value, sizeof value));
    GIVES("IPV6_PKTINFO", setsockopt(s, IPPROTO_IPV6, IPV6_PKTINFO, (char *)&value, sizeof value));
    GIVES("SIO_KEEPALIVE_VALS", WSAIoctl(stream, SIO_KEEPALIVE_VALS, &keepalive, sizeof keepalive, NULL, 0, &size, NULL, NULL));
    GIVES("TCP_KEEPIDLE", getsockopt(stream, IPPROTO_TCP, TCP_KEEPIDLE, (char *)&value, &length));
    check("its value", (int)value, 5);
    GIVES("TCP_KEEPINTVL", getsockopt(stream, IPPROTO_TCP, TCP_KEEPINTVL, (char *)&value, &length));
    check("its value", (int)value, 2);
    GIVES("IP_DONTFRAGMENT", setsockopt(stream, IPPROTO_IP, IP_DONTFRAGMENT, (char *)&value, sizeof value));
    FAILS("IP_RTHDR", setsockopt(stream, IPPROTO_IP, IP_RTHDR, (char *)&value, sizeof value), WSAENOPROTOOPT);
    {
        struct sockaddr_in to = address("127.0.0.1", 80), from;
        union {
            SOCKET_ADDRESS_LIST list;
            char space[4096];
        } addresses;
        DWORD needed = 0;
        int i, loopbacks = 0;
        FAILS("SIO_ADDRESS_LIST_QUERY without space", WSAIoctl(stream, SIO_ADDRESS_LIST_QUERY, NULL, 0, NULL, 0, &needed,
                                                               NULL, NULL), WSAEFAULT);
        check("its size", needed >= sizeof(SOCKET_ADDRESS_LIST) + sizeof(struct sockaddr_in), 1);
        GIVES("SIO_ADDRESS_LIST_QUERY", WSAIoctl(stream, SIO_ADDRESS_LIST_QUERY, NULL, 0, &addresses, sizeof addresses, &size,
                                                 NULL, NULL));
        check("the same size", size == needed, 1);
        for (i = 0; i < addresses.list.iAddressCount; i++)
            loopbacks += ((struct sockaddr_in *)addresses.list.Address[i].lpSockaddr)->sin_addr.s_addr == to.sin_addr.s_addr;
        check("loopback is one of them", loopbacks, 1);
        GIVES("SIO_ROUTING_INTERFACE_QUERY", WSAIoctl(stream, SIO_ROUTING_INTERFACE_QUERY, &to, sizeof to, &from, sizeof from,
                                                      &size, NULL, NULL));
        check("its address", from.sin_addr.s_addr == to.sin_addr.s_addr, 1);
    }
    closesocket(s);
    closesocket(stream);
}

static void without_meaning(void) {
    HANDLE lookup;
    int error = 0;
    GUID id = WSAID_ACCEPTEX;
    WCHAR path[260];
    int length = 260;
    DWORD_PTR context = 0;
    SOCKET layered;
    FAILS("WSALookupServiceBegin", WSALookupServiceBeginA(NULL, LUP_DEEP, &lookup), WSAEOPNOTSUPP);
    check("WSAAsyncGetHostByName", WSAAsyncGetHostByName(NULL, 0, "localhost", NULL, 0) == NULL, 1);
    check("its error", WSAGetLastError(), WSAEOPNOTSUPP);
    check("WSCInstallProvider", WSCInstallProvider(&id, path, NULL, 0, &error), SOCKET_ERROR);
    check("its error", error, WSAEOPNOTSUPP);
    check("WSCGetProviderPath", WSCGetProviderPath(&id, path, &length, &error), 0);
    check("a path", path[0] == '/' && length > 1, 1);
    {
        HMODULE provider = LoadLibraryW(path);
        LPWSPSTARTUP start = (LPWSPSTARTUP)GetProcAddress(provider, "WSPStartup");
        WSPPROC_TABLE table;
        WSPUPCALLTABLE upcalls;
        WSPDATA data;
        memset(&upcalls, 0, sizeof upcalls);
        check("LoadLibrary and GetProcAddress", start != NULL, 1);
        check("WSPStartup", start(MAKEWORD(2, 2), &data, NULL, upcalls, &table), 0);
        check("a table", table.lpWSPConnect != NULL && table.lpWSPStringToAddress != NULL, 1);
        check("WSPCleanup", table.lpWSPCleanup(&error), 0);
        FreeLibrary(provider);
    }
    check("WSAIsBlocking", WSAIsBlocking(), FALSE);
    layered = WPUCreateSocketHandle(1001, 77, &error);
    check("WPUQuerySocketHandleContext", WPUQuerySocketHandleContext(layered, &context, &error), 0);
    check("its context", (int)context, 77);
    check("WPUCloseSocketHandle", WPUCloseSocketHandle(layered, &error), 0);
    check("WPUQuerySocketHandleContext afterwards", WPUQuerySocketHandleContext(layered, &context, &error), SOCKET_ERROR);
    check("its error", error, WSAENOTSOCK);
}

/* The thread's error after a call that began with another one. */
#define LEAVES(what, call, code)            \
    do {                                    \
        WSASetLastError(12345);             \
        (void)(call);                       \
        check(what, WSAGetLastError(), code); \
    } while (0)

/* A call that succeeds sets the thread's error to 0; one that cannot fail, or releases something, leaves it. */
static void last_errors(void) {
    struct sockaddr_in name = address("127.0.0.1", 80);
    struct addrinfo *found = NULL;
    char host[64], service[64];
    WSADATA data;
    LEAVES("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    LEAVES("getaddrinfo", getaddrinfo("127.0.0.1", "80", NULL, &found), 0);
    LEAVES("freeaddrinfo", freeaddrinfo(found), 12345);
    LEAVES("getaddrinfo that fails", getaddrinfo("127.0.0.1", "no such service", NULL, &found), WSATYPE_NOT_FOUND);
    LEAVES("getnameinfo", getnameinfo((struct sockaddr *)&name, sizeof name, host, sizeof host, service, sizeof service,
                                      NI_NUMERICHOST | NI_NUMERICSERV), 0);
    LEAVES("inet_addr", inet_addr("127.0.0.1"), 0);
    LEAVES("inet_addr of a space", inet_addr(" "), 0);
    LEAVES("inet_ntoa", inet_ntoa(name.sin_addr), 12345);
    LEAVES("htons", htons(1), 12345);
    LEAVES("WSAIsBlocking", WSAIsBlocking(), 12345);
    check("a space", inet_addr(" ") == INADDR_ANY, 1);
    check("two spaces", inet_addr("  ") == INADDR_NONE, 1);
    check("a space before", inet_addr(" 1") == INADDR_NONE, 1);
    check("the last of two starts", WSACleanup(), 0);
}

int main(void) {
    WSADATA data;
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    last_errors();
    messages();
    accept_ex();
    transmit();
    by_name();
    options();
    refused_extensions();
    without_meaning();
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
