/* The interface that IP_MULTICAST_IF or IPV6_MULTICAST_IF selects carries a multicast flow: of two links, the wide one has the
 * route and the narrow one has no capacity for the flow. Ends with 77 where there is no network namespace. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>
#include "check.h"

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)
#define NO_OPTION 0

/* Of <net/if.h>, which has other structures of the same names. */
extern unsigned if_nametoindex(const char *name);

/* Requests 4 Mbit/s on the way to the session, by WSAConnect or WSAJoinLeaf. Returns 0 or the error. */
static int reserve(const struct sockaddr *session, int length, DWORD option, int joins) {
    QOS qos = guaranteed(500000, 20000);
    int is_v6 = session->sa_family == AF_INET6, result = 0;
    SOCKET s = socket(session->sa_family, SOCK_DGRAM, 0);
    if (option != NO_OPTION)
        GIVES("the option", setsockopt(s, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, is_v6 ? IPV6_MULTICAST_IF : IP_MULTICAST_IF,
                                       (char *)&option, sizeof option));
    if (joins) {
        if (WSAJoinLeaf(s, session, length, NULL, NULL, &qos, NULL, JL_SENDER_ONLY) == INVALID_SOCKET)
            result = WSAGetLastError();
    } else if (WSAConnect(s, session, length, NULL, NULL, &qos, NULL))
        result = WSAGetLastError();
    closesocket(s);
    return result;
}

/* Whether an interface is a member of 239.1.2.4, by the kernel's list. */
static int is_member(const char *interface) {
    char line[256];
    int inside = 0, found = 0;
    FILE *list = fopen("/proc/net/igmp", "r");
    while (list && fgets(line, sizeof line, list)) {
        if (line[0] != '\t')
            inside = strstr(line, interface) != NULL;
        else if (inside && strstr(line, "040201EF"))
            found = 1;
    }
    if (list)
        fclose(list);
    return found;
}

/* A receiver that joins becomes a member on the interface that the option selects. */
static void receives(const struct sockaddr *session, int length, DWORD option, const char *expected, const char *other) {
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    if (option != NO_OPTION)
        GIVES("the option", setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, (char *)&option, sizeof option));
    check("WSAJoinLeaf", WSAJoinLeaf(s, session, length, NULL, NULL, NULL, NULL, JL_RECEIVER_ONLY) == s, 1);
    check(expected, is_member(expected), 1);
    check(other, is_member(other), 0);
    closesocket(s);
}

int main(void) {
    WSADATA data;
    struct sockaddr_in session = address("239.1.2.4", 5150);
    struct sockaddr_in6 session6;
    DWORD wide, narrow;
    int joins;
    if (unshare(CLONE_NEWNET)) {
        printf("no network namespace: %s\n", strerror(errno));
        return 77;
    }
    if (system("ip link set lo up && ip link add gq0 type veth peer name far0 && ip link add gq1 type veth peer name far1"
               " && ip addr add 10.9.0.1/24 dev gq0 && ip addr add 10.9.1.1/24 dev gq1"
               " && ip link set gq0 up && ip link set gq1 up && ip link set far0 up && ip link set far1 up"
               " && ip addr add fd09::1/64 dev gq0 nodad && ip addr add fd0a::1/64 dev gq1 nodad"
               " && ip route add 239.0.0.0/8 dev gq0"
               " && ip -6 route add multicast ff05::/16 dev gq0 table local"))
        return 77;
    wide = if_nametoindex("gq0");
    narrow = if_nametoindex("gq1");
    memset(&session6, 0, sizeof session6);
    session6.sin6_family = AF_INET6;
    session6.sin6_port = htons(5150);
    inet_pton(AF_INET6, "ff05::1:4", &session6.sin6_addr);
    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    for (joins = 0; joins < 2; joins++) {
        check("by the route", reserve(NAME(session), NO_OPTION, joins), 0);
        check("by the narrow link's address", reserve(NAME(session), inet_addr("10.9.1.1"), joins), WSAEOPNOTSUPP);
        check("by the wide link's address", reserve(NAME(session), inet_addr("10.9.0.1"), joins), 0);
        check("by the narrow link's index", reserve(NAME(session), htonl(narrow), joins), WSAEOPNOTSUPP);
        check("by the wide link's index", reserve(NAME(session), htonl(wide), joins), 0);
        check("IPv6, by the narrow link", reserve(NAME(session6), narrow, joins), WSAEOPNOTSUPP);
        check("IPv6, by the wide link", reserve(NAME(session6), wide, joins), 0);
    }
    receives(NAME(session), NO_OPTION, "gq0", "gq1");
    receives(NAME(session), htonl(narrow), "gq1", "gq0");
    receives(NAME(session), inet_addr("10.9.1.1"), "gq1", "gq0");
    receives(NAME(session), inet_addr("10.9.0.1"), "gq0", "gq1");
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
