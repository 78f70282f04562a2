/* qWAVE, the quality of service of today's Windows: flows that sockets are added to. Rates are bits per second, and
 * reserved in the same ledger as a FLOWSPEC's: docs/WINSOCK.md. */
#ifndef _QOS2_H_
#define _QOS2_H_

#include "winsock2.h"
#include "ws2tcpip.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef UINT32 QOS_FLOWID, *PQOS_FLOWID;
#define QOS_OUTGOING_DEFAULT_MINIMUM_BANDWIDTH 0xFFFFFFFF
#define QOS_NON_ADAPTIVE_FLOW 0x00000002
#define QOS_QUERYFLOW_FRESH 0x00000001

typedef struct _QOS_VERSION {
    USHORT MajorVersion;
    USHORT MinorVersion;
} QOS_VERSION, *PQOS_VERSION;

typedef enum _QOS_TRAFFIC_TYPE {
    QOSTrafficTypeBestEffort,
    QOSTrafficTypeBackground,
    QOSTrafficTypeExcellentEffort,
    QOSTrafficTypeAudioVideo,
    QOSTrafficTypeVoice,
    QOSTrafficTypeControl
} QOS_TRAFFIC_TYPE, *PQOS_TRAFFIC_TYPE;

typedef enum _QOS_SHAPING {
    QOSShapeOnly,
    QOSShapeAndMark,
    QOSUseNonConformantMarkings
} QOS_SHAPING, *PQOS_SHAPING;

typedef enum _QOS_FLOWRATE_REASON {
    QOSFlowRateNotApplicable,
    QOSFlowRateContentChange,
    QOSFlowRateCongestion,
    QOSFlowRateHigherContentEncoding,
    QOSFlowRateUserCaused
} QOS_FLOWRATE_REASON, *PQOS_FLOWRATE_REASON;

typedef enum _QOS_SET_FLOW {
    QOSSetTrafficType = 0,
    QOSSetOutgoingRate = 1,
    QOSSetOutgoingDSCPValue = 2
} QOS_SET_FLOW, *PQOS_SET_FLOW;

typedef enum _QOS_QUERY_FLOW {
    QOSQueryFlowFundamentals,
    QOSQueryPacketPriority,
    QOSQueryOutgoingRate
} QOS_QUERY_FLOW, *PQOS_QUERY_FLOW;

typedef enum _QOS_NOTIFY_FLOW {
    QOSNotifyCongested,
    QOSNotifyUncongested,
    QOSNotifyAvailable
} QOS_NOTIFY_FLOW, *PQOS_NOTIFY_FLOW;

typedef struct _QOS_FLOWRATE_OUTGOING {
    UINT64 Bandwidth;
    QOS_SHAPING ShapingBehavior;
    QOS_FLOWRATE_REASON Reason;
} QOS_FLOWRATE_OUTGOING, *PQOS_FLOWRATE_OUTGOING;

/* RTT is in microseconds. */
typedef struct _QOS_FLOW_FUNDAMENTALS {
    BOOL BottleneckBandwidthSet;
    UINT64 BottleneckBandwidth;
    BOOL AvailableBandwidthSet;
    UINT64 AvailableBandwidth;
    BOOL RTTSet;
    UINT32 RTT;
} QOS_FLOW_FUNDAMENTALS, *PQOS_FLOW_FUNDAMENTALS;

typedef struct _QOS_PACKET_PRIORITY {
    ULONG ConformantDSCPValue;
    ULONG NonConformantDSCPValue;
    ULONG ConformantL2Value;
    ULONG NonConformantL2Value;
} QOS_PACKET_PRIORITY, *PQOS_PACKET_PRIORITY;

/* Bits per second of IP packets from bits per second of data, in packets with so many bytes of data, and back. */
static __inline UINT64 gqos_overhead(int family, int protocol) {
    return (family == AF_INET6 ? 40u : 20u) + (protocol == IPPROTO_UDP ? 8u : 20u);
}
static __inline UINT64 QOS_ADD_OVERHEAD(int family, int protocol, UINT64 packet, UINT64 bits) {
    UINT64 size = packet ? packet : 1;
    return (bits * (size + gqos_overhead(family, protocol)) + size - 1) / size;
}
static __inline UINT64 QOS_SUBTRACT_OVERHEAD(int family, int protocol, UINT64 packet, UINT64 bits) {
    return bits * packet / (packet + gqos_overhead(family, protocol));
}

extern BOOL WSAAPI QOSCreateHandle(PQOS_VERSION Version, PHANDLE QOSHandle) GQOS(QOSCreateHandle);
extern BOOL WSAAPI QOSCloseHandle(HANDLE QOSHandle) GQOS(QOSCloseHandle);
extern BOOL WSAAPI QOSAddSocketToFlow(HANDLE QOSHandle, SOCKET Socket, PSOCKADDR DestAddr,
                                      QOS_TRAFFIC_TYPE TrafficType, DWORD Flags, PQOS_FLOWID FlowId)
    GQOS(QOSAddSocketToFlow);
extern BOOL WSAAPI QOSRemoveSocketFromFlow(HANDLE QOSHandle, SOCKET Socket, QOS_FLOWID FlowId, DWORD Flags)
    GQOS(QOSRemoveSocketFromFlow);
extern BOOL WSAAPI QOSSetFlow(HANDLE QOSHandle, QOS_FLOWID FlowId, QOS_SET_FLOW Operation, ULONG Size, PVOID Buffer,
                              DWORD Flags, LPOVERLAPPED Overlapped) GQOS(QOSSetFlow);
extern BOOL WSAAPI QOSQueryFlow(HANDLE QOSHandle, QOS_FLOWID FlowId, QOS_QUERY_FLOW Operation, PULONG Size,
                                PVOID Buffer, DWORD Flags, LPOVERLAPPED Overlapped) GQOS(QOSQueryFlow);
extern BOOL WSAAPI QOSNotifyFlow(HANDLE QOSHandle, QOS_FLOWID FlowId, QOS_NOTIFY_FLOW Operation, PULONG Size,
                                 PVOID Buffer, DWORD Flags, LPOVERLAPPED Overlapped) GQOS(QOSNotifyFlow);
extern BOOL WSAAPI QOSCancel(HANDLE QOSHandle, LPOVERLAPPED Overlapped) GQOS(QOSCancel);
extern BOOL WSAAPI QOSEnumerateFlows(HANDLE QOSHandle, PULONG Size, PVOID Buffer) GQOS(QOSEnumerateFlows);
extern BOOL WSAAPI QOSStartTrackingClient(HANDLE QOSHandle, PSOCKADDR DestAddr, DWORD Flags)
    GQOS(QOSStartTrackingClient);
extern BOOL WSAAPI QOSStopTrackingClient(HANDLE QOSHandle, PSOCKADDR DestAddr, DWORD Flags)
    GQOS(QOSStopTrackingClient);

#ifdef __cplusplus
}
#endif
#endif
