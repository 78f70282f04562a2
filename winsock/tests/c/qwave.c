/* qWAVE: a socket is added to a flow, gets a rate that is held, and is refused one that exceeds the budget. Compiles as
 * C and as C++. */
#include <windows.h>
#include <ws2tcpip.h>
#include <qos2.h>
#include <qossp.h>
#include <stdio.h>
#include "check.h"

/* The error of a function that returns FALSE; one that succeeds sets the error to 0. */
#define REFUSES(what, call, code) check(what, (call) ? 0 : (int)GetLastError(), code)
#define ALLOWS(what, call) check(what, (SetLastError(12345), (void)(call), (int)GetLastError()), 0)

static BOOL set_rate(HANDLE qos, QOS_FLOWID flow, UINT64 bits, QOS_SHAPING shaping) {
    QOS_FLOWRATE_OUTGOING rate;
    rate.Bandwidth = bits;
    rate.ShapingBehavior = shaping;
    rate.Reason = QOSFlowRateNotApplicable;
    return QOSSetFlow(qos, flow, QOSSetOutgoingRate, sizeof rate, &rate, 0, NULL);
}

static SOCKET connected(SOCKET listener, const struct sockaddr_in *name, SOCKET *server) {
    SOCKET client = socket(AF_INET, SOCK_STREAM, 0);
    /* The congestion control of this machine does not matter. */
    GIVES("connect", connect(client, (const struct sockaddr *)name, sizeof *name));
    *server = accept(listener, NULL, NULL);
    return client;
}

/* Bits per second that reach the other end in this many milliseconds. */
static double measured(SOCKET from, SOCKET to, DWORD milliseconds) {
    static char data[4096];
    ULONGLONG start = GetTickCount64(), now;
    u_long on = 1;
    double bytes = 0;
    ioctlsocket(from, FIONBIO, &on);
    ioctlsocket(to, FIONBIO, &on);
    do {
        int got;
        /* All that has credit: a busy machine sleeps for longer. */
        while (send(from, data, sizeof data, 0) > 0)
            ;
        while ((got = recv(to, data, sizeof data, 0)) > 0)
            bytes += got;
        Sleep(1);
        now = GetTickCount64();
    } while (now - start < milliseconds);
    return bytes * 8 * 1000 / (double)(now - start);
}

int main(void) {
    QOS_VERSION version = {1, 0}, unknown = {2, 0};
    QOS_FLOW_FUNDAMENTALS fundamentals;
    QOS_PACKET_PRIORITY priority;
    QOS_FLOWID flow = 0, other = 0, flows[8];
    HANDLE qos = NULL;
    WSADATA data;
    SOCKET listener, server, second_server, client, second, datagram;
    struct sockaddr_in name = address("127.0.0.1", 0);
    int length = sizeof name, reuse = 1, tries;
    ULONG size;
    UINT64 bits = 0;
    DWORD code_point = 46, type = QOSTrafficTypeVoice;
    OVERLAPPED overlapped;
    double rate;

    check("WSAStartup", WSAStartup(MAKEWORD(2, 2), &data), 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    GIVES("bind", bind(listener, (struct sockaddr *)&name, sizeof name));
    GIVES("getsockname", getsockname(listener, (struct sockaddr *)&name, &length));
    GIVES("listen", listen(listener, 5));
    client = connected(listener, &name, &server);
    second = connected(listener, &name, &second_server);
    (void)reuse;

    REFUSES("QOSCreateHandle of another version", QOSCreateHandle(&unknown, &qos), ERROR_INVALID_PARAMETER);
    REFUSES("QOSCloseHandle of none", QOSCloseHandle((HANDLE)(intptr_t)77), ERROR_INVALID_HANDLE);
    ALLOWS("QOSCreateHandle", QOSCreateHandle(&version, &qos));
    REFUSES("an unknown traffic type", QOSAddSocketToFlow(qos, client, NULL, (QOS_TRAFFIC_TYPE)9, 0, &flow),
            ERROR_INVALID_PARAMETER);
    ALLOWS("QOSAddSocketToFlow", QOSAddSocketToFlow(qos, client, NULL, QOSTrafficTypeAudioVideo, 0, &flow));
    check("a flow", flow != 0, 1);
    REFUSES("the socket once more", QOSAddSocketToFlow(qos, client, NULL, QOSTrafficTypeVoice, 0, &other),
            ERROR_ALREADY_EXISTS);
    other = flow;
    REFUSES("a second socket of an adaptive flow", QOSAddSocketToFlow(qos, second, NULL, QOSTrafficTypeVoice, 0, &other),
            ERROR_INVALID_PARAMETER);
    other = 0;
    ALLOWS("a second flow", QOSAddSocketToFlow(qos, second, NULL, QOSTrafficTypeVoice, 0, &other));
    size = sizeof flows;
    ALLOWS("QOSEnumerateFlows", QOSEnumerateFlows(qos, &size, flows));
    check("two of them", (int)size, 2 * (int)sizeof flows[0]);
    size = 4;
    REFUSES("QOSEnumerateFlows with less", QOSEnumerateFlows(qos, &size, flows), ERROR_INSUFFICIENT_BUFFER);
    check("its size", (int)size, 2 * (int)sizeof flows[0]);

    /* 8 Mbit/s can be reserved. */
    size = sizeof bits;
    REFUSES("no rate yet", QOSQueryFlow(qos, flow, QOSQueryOutgoingRate, &size, &bits, 0, NULL), ERROR_NO_DATA);
    ALLOWS("4 Mbit/s", set_rate(qos, flow, 4000000, QOSShapeAndMark));
    REFUSES("5 Mbit/s more", set_rate(qos, other, 5000000, QOSShapeOnly), ERROR_NETWORK_BUSY);
    REFUSES("an unknown flow", set_rate(qos, 999, 1000, QOSShapeOnly), ERROR_NOT_FOUND);
    REFUSES("no rate", set_rate(qos, flow, 0, QOSShapeOnly), ERROR_INVALID_PARAMETER);
    size = sizeof bits;
    ALLOWS("QOSQueryOutgoingRate", QOSQueryFlow(qos, flow, QOSQueryOutgoingRate, &size, &bits, 0, NULL));
    check("the rate", (int)bits, 4000000);
    size = sizeof priority;
    ALLOWS("QOSQueryPacketPriority", QOSQueryFlow(qos, flow, QOSQueryPacketPriority, &size, &priority, 0, NULL));
    check("the DSCP of audio and video", (int)priority.ConformantDSCPValue, 0x28);
    size = sizeof fundamentals;
    ALLOWS("QOSQueryFlowFundamentals",
           QOSQueryFlow(qos, flow, QOSQueryFlowFundamentals, &size, &fundamentals, QOS_QUERYFLOW_FRESH, NULL));
    check("the bottleneck", fundamentals.BottleneckBandwidthSet && fundamentals.BottleneckBandwidth == 10000000, 1);
    check("less than 4 Mbit/s is available", fundamentals.AvailableBandwidthSet && fundamentals.AvailableBandwidth <= 4000000
                                                 && fundamentals.AvailableBandwidth > 3000000, 1);

    for (tries = 0, rate = 0; tries < 5 && rate <= 2800000; tries++)
        rate = measured(client, server, 1500);
    printf("%.0f bit/s\n", rate);
    check("the rate is held", rate > 2800000 && rate < 4800000, 1);
    ALLOWS("QOSSetTrafficType", QOSSetFlow(qos, flow, QOSSetTrafficType, sizeof type, &type, 0, NULL));
    ALLOWS("QOSSetOutgoingDSCPValue", QOSSetFlow(qos, flow, QOSSetOutgoingDSCPValue, sizeof code_point, &code_point, 0, NULL));
    size = sizeof priority;
    ALLOWS("QOSQueryPacketPriority", QOSQueryFlow(qos, flow, QOSQueryPacketPriority, &size, &priority, 0, NULL));
    check("the DSCP that was set", (int)priority.ConformantDSCPValue, 46);

    /* Room that another flow leaves. */
    memset(&overlapped, 0, sizeof overlapped);
    overlapped.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    bits = 6000000;
    size = sizeof bits;
    REFUSES("QOSNotifyFlow", QOSNotifyFlow(qos, other, QOSNotifyAvailable, &size, &bits, 0, &overlapped), ERROR_IO_PENDING);
    REFUSES("QOSNotifyFlow once more", QOSNotifyFlow(qos, other, QOSNotifyAvailable, &size, &bits, 0, &overlapped),
            ERROR_ALREADY_EXISTS);
    check("not yet", (int)WaitForSingleObject(overlapped.hEvent, 300), WAIT_TIMEOUT);
    ALLOWS("QOSRemoveSocketFromFlow", QOSRemoveSocketFromFlow(qos, client, flow, 0));
    check("now", (int)WaitForSingleObject(overlapped.hEvent, 10000), WAIT_OBJECT_0);
    ALLOWS("5 Mbit/s now", set_rate(qos, other, 5000000, QOSShapeOnly));
    ResetEvent(overlapped.hEvent);
    REFUSES("QOSNotifyCongested", QOSNotifyFlow(qos, other, QOSNotifyCongested, NULL, NULL, 0, &overlapped), ERROR_IO_PENDING);
    ALLOWS("QOSCancel", QOSCancel(qos, &overlapped));
    check("it has ended", (int)WaitForSingleObject(overlapped.hEvent, 10000), WAIT_OBJECT_0);
    check("aborted", (int)overlapped.Internal, ERROR_OPERATION_ABORTED);

    /* A datagram socket without a peer needs a destination. */
    datagram = socket(AF_INET, SOCK_DGRAM, 0);
    flow = 0;
    REFUSES("no destination", QOSAddSocketToFlow(qos, datagram, NULL, QOSTrafficTypeVoice, 0, &flow), ERROR_INVALID_PARAMETER);
    ALLOWS("a destination", QOSAddSocketToFlow(qos, datagram, (PSOCKADDR)&name, QOSTrafficTypeVoice, 0, &flow));
    ALLOWS("2 Mbit/s", set_rate(qos, flow, 2000000, QOSUseNonConformantMarkings));
    REFUSES("4 Mbit/s", set_rate(qos, flow, 4000000, QOSUseNonConformantMarkings), ERROR_NETWORK_BUSY);
    ALLOWS("QOSStartTrackingClient", QOSStartTrackingClient(qos, (PSOCKADDR)&name, 0));
    ALLOWS("QOSStopTrackingClient", QOSStopTrackingClient(qos, (PSOCKADDR)&name, 0));
    REFUSES("QOSStopTrackingClient again", QOSStopTrackingClient(qos, (PSOCKADDR)&name, 0), ERROR_NOT_FOUND);

    ALLOWS("QOSCloseHandle", QOSCloseHandle(qos));
    REFUSES("its flows are gone", set_rate(qos, other, 1000, QOSShapeOnly), ERROR_INVALID_HANDLE);
    ALLOWS("QOSCreateHandle", QOSCreateHandle(&version, &qos));
    flow = 0;
    ALLOWS("QOSAddSocketToFlow", QOSAddSocketToFlow(qos, client, NULL, QOSTrafficTypeAudioVideo, 0, &flow));
    ALLOWS("what they had is free", set_rate(qos, flow, 7000000, QOSShapeOnly));
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
