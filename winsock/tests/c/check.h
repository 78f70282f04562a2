/* What the C programs of the tests share. Each check prints a line, and a second one if it fails. */
#ifndef GQOS_TESTS_CHECK_H
#define GQOS_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>
#include <winsock2.h>

static int wrong = 0;

static void check(const char *what, int got, int wanted) {
    printf("%s: %d\n", what, got);
    if (got != wanted) {
        printf("  WRONG: %d expected\n", wanted);
        wrong = 1;
    }
}

/* Checks that a call fails with a code, and that a call succeeds. */
#define FAILS(what, call, code) check(what, (call) == SOCKET_ERROR ? WSAGetLastError() : 0, code)
#define GIVES(what, call) check(what, (call) == SOCKET_ERROR ? WSAGetLastError() : 0, 0)

static struct sockaddr_in address(const char *text, unsigned short port) {
    struct sockaddr_in name;
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = inet_addr(text);
    return name;
}

/* Guaranteed service for sending, in bytes per second and bytes; best effort for receiving. */
static __inline QOS guaranteed(DWORD bytes, DWORD bucket) {
    QOS qos;
    FLOWSPEC none = {QOS_NOT_SPECIFIED, QOS_NOT_SPECIFIED, QOS_NOT_SPECIFIED,      QOS_NOT_SPECIFIED,
                     QOS_NOT_SPECIFIED, SERVICETYPE_BESTEFFORT, QOS_NOT_SPECIFIED, QOS_NOT_SPECIFIED};
    memset(&qos, 0, sizeof qos);
    qos.SendingFlowspec = none;
    qos.ReceivingFlowspec = none;
    qos.SendingFlowspec.ServiceType = SERVICETYPE_GUARANTEED;
    qos.SendingFlowspec.TokenRate = bytes;
    qos.SendingFlowspec.TokenBucketSize = bucket;
    return qos;
}

#endif
