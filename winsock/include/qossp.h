/* Objects of the RSVP service provider. */
#ifndef __QOSSP_H_
#define __QOSSP_H_

#include "qosobjs.h"
#include "winsock2.h"

#define RSVP_OBJECT_ID_BASE 1000
#define RSVP_OBJECT_STATUS_INFO (0x00000000 + RSVP_OBJECT_ID_BASE)
#define RSVP_OBJECT_RESERVE_INFO (0x00000001 + RSVP_OBJECT_ID_BASE)
#define RSVP_OBJECT_ADSPEC (0x00000002 + RSVP_OBJECT_ID_BASE)
#define RSVP_OBJECT_POLICY_INFO (0x00000003 + RSVP_OBJECT_ID_BASE)
#define RSVP_OBJECT_FILTERSPEC_LIST (0x00000004 + RSVP_OBJECT_ID_BASE)

typedef struct _QOS_DESTADDR {
    QOS_OBJECT_HDR ObjectHdr;
    const struct sockaddr *SocketAddress;
    ULONG SocketAddressLength;
} QOS_DESTADDR, *LPQOS_DESTADDR;

typedef struct _RSVP_STATUS_INFO {
    QOS_OBJECT_HDR ObjectHdr;
    ULONG StatusCode;
    ULONG ExtendedStatus1;
    ULONG ExtendedStatus2;
} RSVP_STATUS_INFO, *LPRSVP_STATUS_INFO;

/* Filters: the packets that a reservation is for. */
typedef union _IN_ADDR_IPV4 {
    ULONG Addr;
    UCHAR AddrBytes[4];
} IN_ADDR_IPV4, *PIN_ADDR_IPV4, *LPIN_ADDR_IPV4;
typedef const IN_ADDR_IPV4 *LPCIN_ADDR_IPV4;

typedef struct _IN_ADDR_IPV6 {
    UCHAR Addr[16];
} IN_ADDR_IPV6, *PIN_ADDR_IPV6, *LPIN_ADDR_IPV6;
typedef const IN_ADDR_IPV6 *LPCIN_ADDR_IPV6;

typedef struct _RSVP_FILTERSPEC_V4 {
    IN_ADDR_IPV4 Address;
    USHORT Unused;
    USHORT Port;
} RSVP_FILTERSPEC_V4, *LPRSVP_FILTERSPEC_V4;

typedef struct _RSVP_FILTERSPEC_V6 {
    IN_ADDR_IPV6 Address;
    USHORT UnUsed;
    USHORT Port;
} RSVP_FILTERSPEC_V6, *LPRSVP_FILTERSPEC_V6;

typedef struct _RSVP_FILTERSPEC_V6_FLOW {
    IN_ADDR_IPV6 Address;
    UCHAR UnUsed;
    UCHAR FlowLabel[3];
} RSVP_FILTERSPEC_V6_FLOW, *LPRSVP_FILTERSPEC_V6_FLOW;

typedef struct _RSVP_FILTERSPEC_V4_GPI {
    IN_ADDR_IPV4 Address;
    ULONG GeneralPortId;
} RSVP_FILTERSPEC_V4_GPI, *LPRSVP_FILTERSPEC_V4_GPI;

typedef struct _RSVP_FILTERSPEC_V6_GPI {
    IN_ADDR_IPV6 Address;
    ULONG GeneralPortId;
} RSVP_FILTERSPEC_V6_GPI, *LPRSVP_FILTERSPEC_V6_GPI;

typedef enum {
    FILTERSPECV4 = 1,
    FILTERSPECV6,
    FILTERSPECV6_FLOW,
    FILTERSPECV4_GPI,
    FILTERSPECV6_GPI,
    FILTERSPEC_END
} FilterType;

typedef struct _RSVP_FILTERSPEC {
    FilterType Type;
    __extension__ union {
        RSVP_FILTERSPEC_V4 FilterSpecV4;
        RSVP_FILTERSPEC_V6 FilterSpecV6;
        RSVP_FILTERSPEC_V6_FLOW FilterSpecV6Flow;
        RSVP_FILTERSPEC_V4_GPI FilterSpecV4Gpi;
        RSVP_FILTERSPEC_V6_GPI FilterSpecV6Gpi;
    } DUMMYUNIONNAME;
} RSVP_FILTERSPEC, *LPRSVP_FILTERSPEC;

typedef struct _FLOWDESCRIPTOR {
    FLOWSPEC FlowSpec;
    ULONG NumFilters;
    LPRSVP_FILTERSPEC FilterList;
} FLOWDESCRIPTOR, *LPFLOWDESCRIPTOR;

/* Policy elements: the identity of the requester. */
typedef struct _RSVP_POLICY {
    USHORT Len;
    USHORT Type;
    UCHAR Info[4];
} RSVP_POLICY, *LPRSVP_POLICY;
typedef const RSVP_POLICY *LPCRSVP_POLICY;
#define RSVP_POLICY_HDR_LEN (sizeof(USHORT) + sizeof(USHORT))

typedef struct _RSVP_POLICY_INFO {
    QOS_OBJECT_HDR ObjectHdr;
    ULONG NumPolicyElement;
    RSVP_POLICY PolicyElement[1];
} RSVP_POLICY_INFO, *LPRSVP_POLICY_INFO;

#define RSVP_DEFAULT_STYLE 0
#define RSVP_WILDCARD_STYLE 1
#define RSVP_FIXED_FILTER_STYLE 2
#define RSVP_SHARED_EXPLICIT_STYLE 3

/* What a receiver wants: with ConfirmRequest FD_QOS tells of the promise, WSA_QOS_REQUEST_CONFIRMED. */
typedef struct _RSVP_RESERVE_INFO {
    QOS_OBJECT_HDR ObjectHdr;
    ULONG Style;
    ULONG ConfirmRequest;
    LPRSVP_POLICY_INFO PolicyElementList;
    ULONG NumFlowDesc;
    LPFLOWDESCRIPTOR FlowDescList;
} RSVP_RESERVE_INFO, *LPRSVP_RESERVE_INFO;
typedef const RSVP_RESERVE_INFO *LPCRSVP_RESERVE_INFO;

/* What a path has to offer. */
#define INDETERMINATE_LATENCY 0xFFFFFFFF
#define AD_FLAG_BREAK_BIT 0x00000001

typedef struct _AD_GENERAL_PARAMS {
    ULONG IntServAwareHopCount;
    ULONG PathBandwidthEstimate;
    ULONG MinimumLatency;
    ULONG PathMTU;
    ULONG Flags;
} AD_GENERAL_PARAMS, *LPAD_GENERAL_PARAMS;

typedef struct _AD_GUARANTEED {
    ULONG CTotal;
    ULONG DTotal;
    ULONG CSum;
    ULONG DSum;
} AD_GUARANTEED, *LPAD_GUARANTEED;

typedef struct _PARAM_BUFFER {
    ULONG ParameterId;
    ULONG Length;
    UCHAR Buffer[1];
} PARAM_BUFFER, *LPPARAM_BUFFER;

typedef struct _CONTROL_SERVICE {
    ULONG Length;
    SERVICETYPE Service;
    AD_GENERAL_PARAMS Overrides;
    __extension__ union {
        AD_GUARANTEED Guaranteed;
        PARAM_BUFFER ParamBuffer[1];
    } DUMMYUNIONNAME;
} CONTROL_SERVICE, *LPCONTROL_SERVICE;

typedef struct _RSVP_ADSPEC {
    QOS_OBJECT_HDR ObjectHdr;
    AD_GENERAL_PARAMS GeneralParams;
    ULONG NumberOfServices;
    CONTROL_SERVICE Services[1];
} RSVP_ADSPEC, *LPRSVP_ADSPEC;

/* ExtendedStatus1 of RSVP_STATUS_INFO: why, in detail. */
#define GQOS_NO_ERRORCODE 0
#define GQOS_NO_ERRORVALUE 0
#define GQOS_ERRORCODE_UNKNOWN 0xFFFFFFFF
#define GQOS_ERRORVALUE_UNKNOWN 0xFFFFFFFF
#define GQOS_NET_ADMISSION (56000 + 100)
#define GQOS_NET_POLICY (56000 + 200)
#define GQOS_RSVP (56000 + 300)
#define GQOS_API (56000 + 400)
#define GQOS_KERNEL_TC_SYS (56000 + 500)
#define GQOS_RSVP_SYS (56000 + 600)
#define GQOS_KERNEL_TC (56000 + 700)
#define GQOS_DELAYBND (GQOS_NET_ADMISSION + 2)
#define GQOS_BANDWIDTH (GQOS_NET_ADMISSION + 3)
#define GQOS_MTU (GQOS_NET_ADMISSION + 4)
#define GQOS_FLOW_RATE (GQOS_NET_ADMISSION + 5)
#define GQOS_PEAK_RATE (GQOS_NET_ADMISSION + 6)

/* SIO_CHK_QOS. LINE_RATE is in bytes a second. */
#define ALLOWED_TO_SEND_DATA 50001
#define ABLE_TO_RECV_RSVP 50002
#define LINE_RATE 50003
#define LOCAL_TRAFFIC_CONTROL 50004
#define LOCAL_QOSABILITY 50005
#define END_TO_END_QOSABILITY 50006
#define INFO_NOT_AVAILABLE 0xFFFFFFFF

#endif
