/* Winsock 2 on Linux, by gqos: a source that includes this compiles and links without editing.
 *
 * Layouts are those of 64-bit Windows; LONG, ULONG, DWORD and u_long have 32 bits, whatever `long` has.
 * Functions are mapped to symbols that begin with gqos_, so that no function of the C library is replaced.
 * What is done otherwise, and why: docs/WINSOCK.md. */
#ifndef _WINSOCK2API_
#define _WINSOCK2API_
#define _WINSOCKAPI_

#if defined(_SYS_SOCKET_H) || defined(_NETINET_IN_H) || defined(_ARPA_INET_H) || defined(_NETDB_H)
#error "winsock2.h cannot share a file with <sys/socket.h>, <netinet/in.h>, <arpa/inet.h> or <netdb.h>"
#endif

/* A program may choose how many sockets its fd_sets hold; the C library would overwrite it. */
#ifdef FD_SETSIZE
enum { gqos_fd_setsize = FD_SETSIZE };
#undef FD_SETSIZE
#else
enum { gqos_fd_setsize = 64 };
#endif

/* The C library's own come first, so that its names can be taken over. */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#undef IOC_IN
#undef IOC_INOUT
#undef IOC_OUT
#undef FIOASYNC
#undef FIONBIO
#undef FIONREAD
#undef SIOCATMARK
#undef SIOCGHIWAT
#undef SIOCGLOWAT
#undef SIOCSHIWAT
#undef SIOCSLOWAT
#undef FD_SETSIZE
#define FD_SETSIZE gqos_fd_setsize
#undef FD_SET
#undef FD_CLR
#undef FD_ZERO
#undef FD_ISSET

#ifdef __cplusplus
extern "C" {
#endif

#define WSAAPI
#define WINAPI
#define CALLBACK
#define APIENTRY
#define PASCAL
#define FAR
#define NEAR
#define IN
#define OUT
#define OPTIONAL
#define CONST const

/* Unions without a name, unless a program wants them to have one. */
#ifndef DUMMYUNIONNAME
#if defined(NONAMELESSUNION)
#define DUMMYUNIONNAME u
#define DUMMYSTRUCTNAME s
#else
#define DUMMYUNIONNAME
#define DUMMYSTRUCTNAME
#endif
#endif

#ifndef TRUE
#define TRUE 1
#define FALSE 0
#endif
#ifndef VOID
#define VOID void
#endif

typedef int BOOL, *PBOOL, *LPBOOL;
typedef unsigned char BYTE, *PBYTE, *LPBYTE, UCHAR, *PUCHAR;
typedef char CHAR, *PCHAR, *LPSTR, *PSTR;
typedef const char *LPCSTR, *PCSTR;
typedef unsigned short WORD, *PWORD, *LPWORD, USHORT, *PUSHORT;
typedef short SHORT;
typedef int INT, *PINT, *LPINT;
typedef unsigned int UINT, *PUINT;
typedef int32_t LONG, *PLONG, *LPLONG;
typedef uint32_t ULONG, *PULONG, *LPULONG;
typedef uint32_t DWORD, *PDWORD, *LPDWORD;
typedef int64_t LONGLONG;
typedef uint64_t ULONGLONG, DWORD64;
typedef uintptr_t DWORD_PTR, ULONG_PTR, UINT_PTR, *PDWORD_PTR, *PULONG_PTR;
typedef intptr_t LONG_PTR, INT_PTR, LPARAM, LRESULT;
typedef uintptr_t WPARAM;
typedef void *PVOID, *LPVOID, *HANDLE, *HWND, *HMODULE, *HINSTANCE;
typedef const void *LPCVOID;
typedef size_t SIZE_T;
typedef uint16_t WCHAR, *PWSTR, *LPWSTR;
typedef const uint16_t *LPCWSTR, *PCWSTR;
typedef DWORD SERVICETYPE;

typedef struct _GUID {
    uint32_t Data1;
    uint16_t Data2;
    uint16_t Data3;
    uint8_t Data4[8];
} GUID, *PGUID, *LPGUID;

#define MAKEWORD(low, high) ((WORD)(((BYTE)(low)) | ((WORD)((BYTE)(high))) << 8))
#define MAKELONG(low, high) ((LONG)(((WORD)(low)) | ((DWORD)((WORD)(high))) << 16))
#define LOBYTE(w) ((BYTE)((w) & 0xff))
#define HIBYTE(w) ((BYTE)(((w) >> 8) & 0xff))
#define LOWORD(l) ((WORD)((l) & 0xffff))
#define HIWORD(l) ((WORD)(((l) >> 16) & 0xffff))

/* The C library has these names for other things. */
typedef uint32_t gqos_u_long;
#define u_long gqos_u_long

typedef UINT_PTR SOCKET;
typedef unsigned int GROUP;

#define INVALID_SOCKET ((SOCKET)(~0))
#define SOCKET_ERROR (-1)

/* The macro serves both `fd_set` and `struct fd_set`. */
typedef struct gqos_fd_set {
    unsigned int fd_count;
    SOCKET fd_array[gqos_fd_setsize];
} gqos_fd_set, FD_SET, *PFD_SET, *LPFD_SET;
#define fd_set gqos_fd_set

typedef struct timeval TIMEVAL, *PTIMEVAL, *LPTIMEVAL;

extern int gqos_WSAFDIsSet(SOCKET s, void *set);
extern int WSAAPI __WSAFDIsSet(SOCKET s, fd_set *set) __asm__("gqos_WSAFDIsSet");

#define FD_ZERO(set) (((struct gqos_fd_set *)(set))->fd_count = 0)
#define FD_ISSET(s, set) gqos_WSAFDIsSet((SOCKET)(s), (struct gqos_fd_set *)(set))
#define FD_SET(s, set)                                                                                         \
    do {                                                                                                       \
        struct gqos_fd_set *gqos_set = (struct gqos_fd_set *)(set);                                            \
        unsigned int gqos_i = 0;                                                                               \
        while (gqos_i < gqos_set->fd_count && gqos_set->fd_array[gqos_i] != (SOCKET)(s))                       \
            gqos_i++;                                                                                          \
        if (gqos_i == gqos_set->fd_count && gqos_i < (unsigned int)gqos_fd_setsize) {                          \
            gqos_set->fd_array[gqos_i] = (SOCKET)(s);                                                          \
            gqos_set->fd_count++;                                                                              \
        }                                                                                                      \
    } while (0)
#define FD_CLR(s, set)                                                                                         \
    do {                                                                                                       \
        struct gqos_fd_set *gqos_set = (struct gqos_fd_set *)(set);                                            \
        unsigned int gqos_i = 0;                                                                               \
        while (gqos_i < gqos_set->fd_count && gqos_set->fd_array[gqos_i] != (SOCKET)(s))                       \
            gqos_i++;                                                                                          \
        if (gqos_i < gqos_set->fd_count) {                                                                     \
            gqos_set->fd_count--;                                                                              \
            for (; gqos_i < gqos_set->fd_count; gqos_i++)                                                      \
                gqos_set->fd_array[gqos_i] = gqos_set->fd_array[gqos_i + 1];                                   \
        }                                                                                                      \
    } while (0)

#include "gqos/types.h"

/* Addresses. */
#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 23
#define PF_UNSPEC AF_UNSPEC
#define PF_INET AF_INET
#define PF_INET6 AF_INET6

typedef USHORT ADDRESS_FAMILY;

struct sockaddr {
    ADDRESS_FAMILY sa_family;
    char sa_data[14];
};

typedef struct in_addr {
    union {
        struct {
            UCHAR s_b1, s_b2, s_b3, s_b4;
        } S_un_b;
        struct {
            USHORT s_w1, s_w2;
        } S_un_w;
        ULONG S_addr;
    } S_un;
} IN_ADDR, *PIN_ADDR, *LPIN_ADDR;
#define s_addr S_un.S_addr
#define s_host S_un.S_un_b.s_b2
#define s_net S_un.S_un_b.s_b1

struct sockaddr_in {
    ADDRESS_FAMILY sin_family;
    USHORT sin_port;
    IN_ADDR sin_addr;
    char sin_zero[8];
};

struct sockaddr_storage {
    ADDRESS_FAMILY ss_family;
    char __ss_pad1[6];
    int64_t __ss_align;
    char __ss_pad2[112];
};

typedef struct sockaddr SOCKADDR, *PSOCKADDR, *LPSOCKADDR;
typedef struct sockaddr_in SOCKADDR_IN, *PSOCKADDR_IN, *LPSOCKADDR_IN;
typedef struct sockaddr_storage SOCKADDR_STORAGE, *PSOCKADDR_STORAGE, *LPSOCKADDR_STORAGE;

#define INADDR_ANY ((ULONG)0x00000000)
#define INADDR_LOOPBACK ((ULONG)0x7f000001)
#define INADDR_BROADCAST ((ULONG)0xffffffff)
#define INADDR_NONE ((ULONG)0xffffffff)
#define ADDR_ANY INADDR_ANY

/* Functions by macros without parameters, so that a program may take their addresses: the C library's have other types. */
static __inline USHORT WSAAPI gqos_htons(USHORT value) { return (USHORT)(value << 8 | value >> 8); }
static __inline USHORT WSAAPI gqos_ntohs(USHORT value) { return gqos_htons(value); }
static __inline ULONG WSAAPI gqos_htonl(ULONG value) { return __builtin_bswap32(value); }
static __inline ULONG WSAAPI gqos_ntohl(ULONG value) { return gqos_htonl(value); }
#undef htons
#undef ntohs
#undef htonl
#undef ntohl
#define htons gqos_htons
#define ntohs gqos_ntohs
#define htonl gqos_htonl
#define ntohl gqos_ntohl

/* Hosts, services and protocols. */
struct hostent {
    char *h_name;
    char **h_aliases;
    short h_addrtype;
    short h_length;
    char **h_addr_list;
};
#define h_addr h_addr_list[0]

struct servent {
    char *s_name;
    char **s_aliases;
#if UINTPTR_MAX > 0xffffffffu
    char *s_proto;
    short s_port;
#else
    short s_port;
    char *s_proto;
#endif
};

struct protoent {
    char *p_name;
    char **p_aliases;
    short p_proto;
};

typedef struct hostent HOSTENT, *PHOSTENT, *LPHOSTENT;
typedef struct servent SERVENT, *PSERVENT, *LPSERVENT;
typedef struct protoent PROTOENT, *PPROTOENT, *LPPROTOENT;

/* Sockets. */
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define IPPROTO_IP 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_IPV6 41
#define SOL_SOCKET 0xffff
#define SO_DEBUG 0x0001
#define SO_ACCEPTCONN 0x0002
#define SO_REUSEADDR 0x0004
#define SO_KEEPALIVE 0x0008
#define SO_DONTROUTE 0x0010
#define SO_BROADCAST 0x0020
#define SO_USELOOPBACK 0x0040
#define SO_LINGER 0x0080
#define SO_OOBINLINE 0x0100
#define SO_DONTLINGER ((int)(~SO_LINGER))
#define SO_EXCLUSIVEADDRUSE ((int)(~SO_REUSEADDR))
#define SO_SNDBUF 0x1001
#define SO_RCVBUF 0x1002
#define SO_SNDLOWAT 0x1003
#define SO_RCVLOWAT 0x1004
#define SO_SNDTIMEO 0x1005
#define SO_RCVTIMEO 0x1006
#define SO_ERROR 0x1007
#define SO_TYPE 0x1008
#define SO_GROUP_ID 0x2001
#define SO_GROUP_PRIORITY 0x2002
#define SO_MAX_MSG_SIZE 0x2003
#define SO_PROTOCOL_INFOA 0x2004
#define SO_PROTOCOL_INFOW 0x2005
#define SO_CONDITIONAL_ACCEPT 0x3002
#define SO_CONNECT_TIME 0x700C
#define TCP_NODELAY 0x0001
#define SOMAXCONN 0x7fffffff
/* A queue of N connections, of 200 at least and 65535 at most. */
#define SOMAXCONN_HINT(n) (-(n))
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_DONTROUTE 0x4
#define MSG_WAITALL 0x8
#define SD_RECEIVE 0
#define SD_SEND 1
#define SD_BOTH 2
#define FIONREAD 0x4004667f
#define FIONBIO ((int)0x8004667e)
#define SIOCATMARK 0x40047307
#define MAXGETHOSTSTRUCT 1024

struct linger {
    USHORT l_onoff;
    USHORT l_linger;
};
typedef struct linger LINGER, *PLINGER, *LPLINGER;

typedef struct _WSABUF {
    ULONG len;
    CHAR *buf;
} WSABUF, *LPWSABUF;

#include "gqos/addresses.h"
#include "gqos/protocols.h"

#include "qos.h"

typedef struct _QualityOfService {
    FLOWSPEC SendingFlowspec;
    FLOWSPEC ReceivingFlowspec;
    WSABUF ProviderSpecific;
} QOS, *LPQOS;

#define WINSOCK_VERSION MAKEWORD(2, 2)
#define WSADESCRIPTION_LEN 256
#define WSASYS_STATUS_LEN 128

typedef struct WSAData {
    WORD wVersion;
    WORD wHighVersion;
#if UINTPTR_MAX > 0xffffffffu
    USHORT iMaxSockets;
    USHORT iMaxUdpDg;
    char *lpVendorInfo;
    char szDescription[WSADESCRIPTION_LEN + 1];
    char szSystemStatus[WSASYS_STATUS_LEN + 1];
#else
    char szDescription[WSADESCRIPTION_LEN + 1];
    char szSystemStatus[WSASYS_STATUS_LEN + 1];
    USHORT iMaxSockets;
    USHORT iMaxUdpDg;
    char *lpVendorInfo;
#endif
} WSADATA, *LPWSADATA;

/* Protocols. */
#define FROM_PROTOCOL_INFO (-1)
#define MAX_PROTOCOL_CHAIN 7
#define WSAPROTOCOL_LEN 255
#define XP1_CONNECTIONLESS 0x00000001
#define XP1_GUARANTEED_DELIVERY 0x00000002
#define XP1_GUARANTEED_ORDER 0x00000004
#define XP1_MESSAGE_ORIENTED 0x00000008
#define XP1_PSEUDO_STREAM 0x00000010
#define XP1_GRACEFUL_CLOSE 0x00000020
#define XP1_EXPEDITED_DATA 0x00000040
#define XP1_CONNECT_DATA 0x00000080
#define XP1_DISCONNECT_DATA 0x00000100
#define XP1_SUPPORT_BROADCAST 0x00000200
#define XP1_SUPPORT_MULTIPOINT 0x00000400
#define XP1_MULTIPOINT_CONTROL_PLANE 0x00000800
#define XP1_MULTIPOINT_DATA_PLANE 0x00001000
#define XP1_QOS_SUPPORTED 0x00002000
#define XP1_INTERRUPT 0x00004000
#define XP1_UNI_SEND 0x00008000
#define XP1_UNI_RECV 0x00010000
#define XP1_IFS_HANDLES 0x00020000
#define XP1_PARTIAL_MESSAGE 0x00040000
#define BASE_PROTOCOL 1
#define LAYERED_PROTOCOL 0
#define BIGENDIAN 0x0000
#define LITTLEENDIAN 0x0001
#define SECURITY_PROTOCOL_NONE 0x0000

typedef struct _WSAPROTOCOLCHAIN {
    int ChainLen;
    DWORD ChainEntries[MAX_PROTOCOL_CHAIN];
} WSAPROTOCOLCHAIN, *LPWSAPROTOCOLCHAIN;

#define GQOS_PROTOCOL_INFO(character)                                                                          \
    DWORD dwServiceFlags1, dwServiceFlags2, dwServiceFlags3, dwServiceFlags4;                                  \
    DWORD dwProviderFlags;                                                                                     \
    GUID ProviderId;                                                                                           \
    DWORD dwCatalogEntryId;                                                                                    \
    WSAPROTOCOLCHAIN ProtocolChain;                                                                            \
    int iVersion, iAddressFamily, iMaxSockAddr, iMinSockAddr, iSocketType, iProtocol, iProtocolMaxOffset,      \
        iNetworkByteOrder, iSecurityScheme;                                                                    \
    DWORD dwMessageSize, dwProviderReserved;                                                                   \
    character szProtocol[WSAPROTOCOL_LEN + 1]

typedef struct _WSAPROTOCOL_INFOA {
    GQOS_PROTOCOL_INFO(CHAR);
} WSAPROTOCOL_INFOA, *LPWSAPROTOCOL_INFOA;
typedef struct _WSAPROTOCOL_INFOW {
    GQOS_PROTOCOL_INFO(WCHAR);
} WSAPROTOCOL_INFOW, *LPWSAPROTOCOL_INFOW;
#ifdef UNICODE
typedef WSAPROTOCOL_INFOW WSAPROTOCOL_INFO, *LPWSAPROTOCOL_INFO;
#define WSAEnumProtocols WSAEnumProtocolsW
#define WSASocket WSASocketW
#define SO_PROTOCOL_INFO SO_PROTOCOL_INFOW
#define WSAAddressToString WSAAddressToStringW
#define WSAStringToAddress WSAStringToAddressW
#else
typedef WSAPROTOCOL_INFOA WSAPROTOCOL_INFO, *LPWSAPROTOCOL_INFO;
#define WSAEnumProtocols WSAEnumProtocolsA
#define WSASocket WSASocketA
#define SO_PROTOCOL_INFO SO_PROTOCOL_INFOA
#define WSAAddressToString WSAAddressToStringA
#define WSAStringToAddress WSAStringToAddressA
#endif

#define WSA_FLAG_OVERLAPPED 0x01
#define WSA_FLAG_MULTIPOINT_C_ROOT 0x02
#define WSA_FLAG_MULTIPOINT_C_LEAF 0x04
#define WSA_FLAG_MULTIPOINT_D_ROOT 0x08
#define WSA_FLAG_MULTIPOINT_D_LEAF 0x10
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
#define SG_UNCONSTRAINED_GROUP 0x01
#define SG_CONSTRAINED_GROUP 0x02
#define JL_SENDER_ONLY 0x01
#define JL_RECEIVER_ONLY 0x02
#define JL_BOTH 0x04

/* Events. */
typedef HANDLE WSAEVENT, *LPWSAEVENT;

typedef struct _OVERLAPPED {
    ULONG_PTR Internal;
    ULONG_PTR InternalHigh;
    __extension__ union {
        __extension__ struct {
            DWORD Offset;
            DWORD OffsetHigh;
        } DUMMYSTRUCTNAME;
        PVOID Pointer;
    } DUMMYUNIONNAME;
    HANDLE hEvent;
} OVERLAPPED, *LPOVERLAPPED;
typedef OVERLAPPED WSAOVERLAPPED, *LPWSAOVERLAPPED;
#ifndef STATUS_PENDING
#define STATUS_PENDING ((DWORD)0x00000103)
#endif
#define HasOverlappedIoCompleted(overlapped) ((DWORD)(overlapped)->Internal != STATUS_PENDING)

#define WSA_INVALID_EVENT ((WSAEVENT)0)
#define WSA_MAXIMUM_WAIT_EVENTS 64
#define WSA_WAIT_FAILED ((DWORD)0xFFFFFFFF)
#define WSA_WAIT_EVENT_0 ((DWORD)0)
#define WSA_WAIT_IO_COMPLETION ((DWORD)0xC0)
#define WSA_WAIT_TIMEOUT ((DWORD)258)
#define WSA_INFINITE ((DWORD)0xFFFFFFFF)
#ifndef INFINITE
#define INFINITE ((DWORD)0xFFFFFFFF)
#endif

#define FD_READ_BIT 0
#define FD_WRITE_BIT 1
#define FD_OOB_BIT 2
#define FD_ACCEPT_BIT 3
#define FD_CONNECT_BIT 4
#define FD_CLOSE_BIT 5
#define FD_QOS_BIT 6
#define FD_GROUP_QOS_BIT 7
#define FD_ROUTING_INTERFACE_CHANGE_BIT 8
#define FD_ADDRESS_LIST_CHANGE_BIT 9
#define FD_READ (1 << FD_READ_BIT)
#define FD_WRITE (1 << FD_WRITE_BIT)
#define FD_OOB (1 << FD_OOB_BIT)
#define FD_ACCEPT (1 << FD_ACCEPT_BIT)
#define FD_CONNECT (1 << FD_CONNECT_BIT)
#define FD_CLOSE (1 << FD_CLOSE_BIT)
#define FD_QOS (1 << FD_QOS_BIT)
#define FD_GROUP_QOS (1 << FD_GROUP_QOS_BIT)
#define FD_ROUTING_INTERFACE_CHANGE (1 << FD_ROUTING_INTERFACE_CHANGE_BIT)
#define FD_ADDRESS_LIST_CHANGE (1 << FD_ADDRESS_LIST_CHANGE_BIT)
#define FD_MAX_EVENTS 10
#define FD_ALL_EVENTS ((1 << FD_MAX_EVENTS) - 1)

typedef struct _WSANETWORKEVENTS {
    int lNetworkEvents;
    int iErrorCode[FD_MAX_EVENTS];
} WSANETWORKEVENTS, *LPWSANETWORKEVENTS;

#undef POLLRDNORM
#undef POLLRDBAND
#undef POLLIN
#undef POLLPRI
#undef POLLWRNORM
#undef POLLOUT
#undef POLLWRBAND
#undef POLLERR
#undef POLLHUP
#undef POLLNVAL
#define POLLRDNORM 0x0100
#define POLLRDBAND 0x0200
#define POLLIN (POLLRDNORM | POLLRDBAND)
#define POLLPRI 0x0400
#define POLLWRNORM 0x0010
#define POLLOUT POLLWRNORM
#define POLLWRBAND 0x0020
#define POLLERR 0x0001
#define POLLHUP 0x0002
#define POLLNVAL 0x0004

typedef struct gqos_pollfd {
    SOCKET fd;
    SHORT events;
    SHORT revents;
} WSAPOLLFD, *PWSAPOLLFD, *LPWSAPOLLFD;

/* The C library's poll with the structure and the numbers of this header, for descriptors of every kind. */
static __inline int gqos_poll(struct gqos_pollfd *fds, nfds_t count, int timeout) {
    static const short numbers[][2] = {{POLLRDNORM, 0x001}, {POLLRDBAND, 0x080}, {POLLPRI, 0x002}, {POLLWRNORM, 0x004},
                                       {POLLERR, 0x008},    {POLLHUP, 0x010},    {POLLNVAL, 0x020}};
    struct pollfd few[16], *own = few;
    nfds_t i;
    unsigned int j;
    int found;
    if (count > sizeof few / sizeof few[0] && !(own = (struct pollfd *)calloc(count, sizeof *own)))
        return -1;
    for (i = 0; i < count; i++) {
        own[i].fd = (int)fds[i].fd;
        own[i].events = own[i].revents = 0;
        for (j = 0; j < sizeof numbers / sizeof numbers[0]; j++)
            if (fds[i].events & numbers[j][0])
                own[i].events = (short)(own[i].events | numbers[j][1]);
    }
    found = poll(own, count, timeout);
    for (i = 0; found >= 0 && i < count; i++) {
        fds[i].revents = 0;
        for (j = 0; j < sizeof numbers / sizeof numbers[0]; j++)
            if (own[i].revents & numbers[j][1])
                fds[i].revents = (SHORT)(fds[i].revents | numbers[j][0]);
    }
    if (own != few)
        free(own);
    return found;
}
#define pollfd gqos_pollfd
#ifndef __cplusplus
#define poll gqos_poll
#endif

/* Ioctl. */
#define IOC_VOID 0x20000000
#define IOC_OUT 0x40000000
#define IOC_IN 0x80000000
#define IOC_INOUT (IOC_IN | IOC_OUT)
#define IOC_WS2 0x08000000
#define SIO_GET_EXTENSION_FUNCTION_POINTER 0xC8000006
#define SIO_GET_QOS 0xC8000007
#define SIO_GET_GROUP_QOS 0xC8000008
#define SIO_SET_QOS 0x8800000B
#define SIO_SET_GROUP_QOS 0x8800000C
#define SIO_CHK_QOS 0xDC000001

#define CF_ACCEPT 0x0000
#define CF_REJECT 0x0001
#define CF_DEFER 0x0002

typedef int(CALLBACK *LPCONDITIONPROC)(LPWSABUF lpCallerId, LPWSABUF lpCallerData, LPQOS lpSQOS, LPQOS lpGQOS,
                                       LPWSABUF lpCalleeId, LPWSABUF lpCalleeData, GROUP *g,
                                       DWORD_PTR dwCallbackData);
typedef void(CALLBACK *LPWSAOVERLAPPED_COMPLETION_ROUTINE)(DWORD dwError, DWORD cbTransferred,
                                                           LPWSAOVERLAPPED lpOverlapped, DWORD dwFlags);

/* Errors. */
#define WSABASEERR 10000
#define WSA_INVALID_HANDLE 6
#define WSA_NOT_ENOUGH_MEMORY 8
#define WSA_INVALID_PARAMETER 87
#define WSA_OPERATION_ABORTED 995
#define WSA_IO_INCOMPLETE 996
#define WSA_IO_PENDING 997
#define WSAEINTR 10004
#define WSAEBADF 10009
#define WSAEACCES 10013
#define WSAEFAULT 10014
#define WSAEINVAL 10022
#define WSAEMFILE 10024
#define WSAEWOULDBLOCK 10035
#define WSAEINPROGRESS 10036
#define WSAEALREADY 10037
#define WSAENOTSOCK 10038
#define WSAEDESTADDRREQ 10039
#define WSAEMSGSIZE 10040
#define WSAEPROTOTYPE 10041
#define WSAENOPROTOOPT 10042
#define WSAEPROTONOSUPPORT 10043
#define WSAESOCKTNOSUPPORT 10044
#define WSAEOPNOTSUPP 10045
#define WSAEPFNOSUPPORT 10046
#define WSAEAFNOSUPPORT 10047
#define WSAEADDRINUSE 10048
#define WSAEADDRNOTAVAIL 10049
#define WSAENETDOWN 10050
#define WSAENETUNREACH 10051
#define WSAENETRESET 10052
#define WSAECONNABORTED 10053
#define WSAECONNRESET 10054
#define WSAENOBUFS 10055
#define WSAEISCONN 10056
#define WSAENOTCONN 10057
#define WSAESHUTDOWN 10058
#define WSAETOOMANYREFS 10059
#define WSAETIMEDOUT 10060
#define WSAECONNREFUSED 10061
#define WSAELOOP 10062
#define WSAENAMETOOLONG 10063
#define WSAEHOSTDOWN 10064
#define WSAEHOSTUNREACH 10065
#define WSAENOTEMPTY 10066
#define WSAEPROCLIM 10067
#define WSAEUSERS 10068
#define WSAEDQUOT 10069
#define WSAESTALE 10070
#define WSAEREMOTE 10071
#define WSASYSNOTREADY 10091
#define WSAVERNOTSUPPORTED 10092
#define WSANOTINITIALISED 10093
#define WSAEDISCON 10101
#define WSAENOMORE 10102
#define WSAECANCELLED 10103
#define WSAEINVALIDPROCTABLE 10104
#define WSAEINVALIDPROVIDER 10105
#define WSAEPROVIDERFAILEDINIT 10106
#define WSASYSCALLFAILURE 10107
#define WSASERVICE_NOT_FOUND 10108
#define WSATYPE_NOT_FOUND 10109
#define WSA_E_NO_MORE 10110
#define WSA_E_CANCELLED 10111
#define WSAEREFUSED 10112
#define WSAHOST_NOT_FOUND 11001
#define WSATRY_AGAIN 11002
#define WSANO_RECOVERY 11003
#define WSANO_DATA 11004
#define HOST_NOT_FOUND WSAHOST_NOT_FOUND
#define TRY_AGAIN WSATRY_AGAIN
#define NO_RECOVERY WSANO_RECOVERY
#define NO_DATA WSANO_DATA
#define WSANO_ADDRESS WSANO_DATA
#define NO_ADDRESS WSANO_DATA
#define h_errno WSAGetLastError()
#define WSA_QOS_RECEIVERS 11005
#define WSA_QOS_SENDERS 11006
#define WSA_QOS_NO_SENDERS 11007
#define WSA_QOS_NO_RECEIVERS 11008
#define WSA_QOS_REQUEST_CONFIRMED 11009
#define WSA_QOS_ADMISSION_FAILURE 11010
#define WSA_QOS_POLICY_FAILURE 11011
#define WSA_QOS_BAD_STYLE 11012
#define WSA_QOS_BAD_OBJECT 11013
#define WSA_QOS_TRAFFIC_CTRL_ERROR 11014
#define WSA_QOS_GENERIC_ERROR 11015
#define WSA_QOS_ESERVICETYPE 11016
#define WSA_QOS_EFLOWSPEC 11017
#define WSA_QOS_EPROVSPECBUF 11018
#define WSA_QOS_EFILTERSTYLE 11019
#define WSA_QOS_EFILTERTYPE 11020
#define WSA_QOS_EFILTERCOUNT 11021
#define WSA_QOS_EOBJLENGTH 11022
#define WSA_QOS_EFLOWCOUNT 11023
#define WSA_QOS_EUNKOWNPSOBJ 11024
#define WSA_QOS_EUNKNOWNPSOBJ WSA_QOS_EUNKOWNPSOBJ
#define WSA_QOS_EPOLICYOBJ 11025
#define WSA_QOS_EFLOWDESC 11026
#define WSA_QOS_EPSFLOWSPEC 11027
#define WSA_QOS_EPSFILTERSPEC 11028
#define WSA_QOS_ESDMODEOBJ 11029
#define WSA_QOS_ESHAPERATEOBJ 11030
#define WSA_QOS_RESERVED_PETYPE 11031
#define WSA_SECURE_HOST_NOT_FOUND 11032
#define WSA_IPSEC_NAME_POLICY_ERROR 11033

/* Functions. A label where the name is free, a macro where the C library has declared it already. */
#define GQOS(name) __asm__("gqos_" #name)

extern int WSAAPI WSAStartup(WORD wVersionRequested, LPWSADATA lpWSAData) GQOS(WSAStartup);
extern int WSAAPI WSACleanup(void) GQOS(WSACleanup);
extern int WSAAPI WSAGetLastError(void) GQOS(WSAGetLastError);
extern void WSAAPI WSASetLastError(int iError) GQOS(WSASetLastError);
extern int WSAAPI WSACancelBlockingCall(void) GQOS(WSACancelBlockingCall);

extern SOCKET WSAAPI socket(int af, int type, int protocol) GQOS(socket);
extern SOCKET WSAAPI gqos_WSASocket(int af, int type, int protocol, void *info, GROUP g, DWORD dwFlags);
static __inline SOCKET WSASocketA(int af, int type, int protocol, LPWSAPROTOCOL_INFOA info, GROUP g, DWORD flags) {
    return gqos_WSASocket(af, type, protocol, info, g, flags);
}
static __inline SOCKET WSASocketW(int af, int type, int protocol, LPWSAPROTOCOL_INFOW info, GROUP g, DWORD flags) {
    return gqos_WSASocket(af, type, protocol, info, g, flags);
}
extern int WSAAPI closesocket(SOCKET s) GQOS(closesocket);
extern int WSAAPI bind(SOCKET s, const struct sockaddr *name, int namelen) GQOS(bind);
extern int WSAAPI connect(SOCKET s, const struct sockaddr *name, int namelen) GQOS(connect);
extern int WSAAPI listen(SOCKET s, int backlog) GQOS(listen);
extern SOCKET WSAAPI accept(SOCKET s, struct sockaddr *addr, int *addrlen) GQOS(accept);
extern int WSAAPI send(SOCKET s, const char *buf, int len, int flags) GQOS(send);
extern int WSAAPI recv(SOCKET s, char *buf, int len, int flags) GQOS(recv);
extern int WSAAPI sendto(SOCKET s, const char *buf, int len, int flags, const struct sockaddr *to, int tolen)
    GQOS(sendto);
extern int WSAAPI recvfrom(SOCKET s, char *buf, int len, int flags, struct sockaddr *from, int *fromlen)
    GQOS(recvfrom);
extern int WSAAPI shutdown(SOCKET s, int how) GQOS(shutdown);
extern int WSAAPI ioctlsocket(SOCKET s, int cmd, u_long *argp) GQOS(ioctlsocket);
extern int WSAAPI getsockopt(SOCKET s, int level, int optname, char *optval, int *optlen) GQOS(getsockopt);
extern int WSAAPI setsockopt(SOCKET s, int level, int optname, const char *optval, int optlen) GQOS(setsockopt);
extern int WSAAPI getsockname(SOCKET s, struct sockaddr *name, int *namelen) GQOS(getsockname);
extern int WSAAPI getpeername(SOCKET s, struct sockaddr *name, int *namelen) GQOS(getpeername);
extern int WSAAPI gqos_select(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
                              const struct timeval *timeout);
#define select gqos_select

extern int WSAAPI WSAConnect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                             LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS) GQOS(WSAConnect);
extern SOCKET WSAAPI WSAAccept(SOCKET s, struct sockaddr *addr, LPINT addrlen, LPCONDITIONPROC lpfnCondition,
                               DWORD_PTR dwCallbackData) GQOS(WSAAccept);
extern int WSAAPI WSAIoctl(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
                           LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
                           LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine)
    GQOS(WSAIoctl);
extern int WSAAPI WSASend(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
                          DWORD dwFlags, LPWSAOVERLAPPED lpOverlapped,
                          LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine) GQOS(WSASend);
extern int WSAAPI WSARecv(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
                          LPDWORD lpFlags, LPWSAOVERLAPPED lpOverlapped,
                          LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine) GQOS(WSARecv);
extern int WSAAPI WSASendTo(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
                            DWORD dwFlags, const struct sockaddr *lpTo, int iTolen, LPWSAOVERLAPPED lpOverlapped,
                            LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine) GQOS(WSASendTo);
extern int WSAAPI WSARecvFrom(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
                              LPDWORD lpFlags, struct sockaddr *lpFrom, LPINT lpFromlen,
                              LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine)
    GQOS(WSARecvFrom);
extern int WSAAPI WSASendDisconnect(SOCKET s, LPWSABUF lpOutboundDisconnectData) GQOS(WSASendDisconnect);
extern int WSAAPI WSARecvDisconnect(SOCKET s, LPWSABUF lpInboundDisconnectData) GQOS(WSARecvDisconnect);
extern BOOL WSAAPI WSAGetOverlappedResult(SOCKET s, LPWSAOVERLAPPED lpOverlapped, LPDWORD lpcbTransfer, BOOL fWait,
                                          LPDWORD lpdwFlags) GQOS(WSAGetOverlappedResult);
extern SOCKET WSAAPI WSAJoinLeaf(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                                 LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, DWORD dwFlags) GQOS(WSAJoinLeaf);
extern int WSAAPI WSAPoll(LPWSAPOLLFD fdArray, ULONG fds, INT timeout) GQOS(WSAPoll);
extern WSAEVENT WSAAPI WSACreateEvent(void) GQOS(WSACreateEvent);
extern BOOL WSAAPI WSASetEvent(WSAEVENT hEvent) GQOS(WSASetEvent);
extern BOOL WSAAPI WSAResetEvent(WSAEVENT hEvent) GQOS(WSAResetEvent);
extern int WSAAPI WSAHtons(SOCKET s, USHORT hostshort, USHORT *lpnetshort) GQOS(WSAHtons);
extern int WSAAPI WSANtohs(SOCKET s, USHORT netshort, USHORT *lphostshort) GQOS(WSANtohs);
extern int WSAAPI WSAHtonl(SOCKET s, ULONG hostlong, ULONG *lpnetlong) GQOS(WSAHtonl);
extern int WSAAPI WSANtohl(SOCKET s, ULONG netlong, ULONG *lphostlong) GQOS(WSANtohl);
extern BOOL WSAAPI WSACloseEvent(WSAEVENT hEvent) GQOS(WSACloseEvent);
extern DWORD WSAAPI WSAWaitForMultipleEvents(DWORD cEvents, const WSAEVENT *lphEvents, BOOL fWaitAll,
                                             DWORD dwTimeout, BOOL fAlertable) GQOS(WSAWaitForMultipleEvents);
extern DWORD WSAAPI SleepEx(DWORD dwMilliseconds, BOOL bAlertable) GQOS(SleepEx);
/* There are no windows: hWnd is a function, HWND(procedure), which is called on a thread of its own. */
typedef void(CALLBACK *GQOS_WNDPROC)(HWND hWnd, UINT wMsg, WPARAM wParam, LPARAM lParam);
extern int WSAAPI WSAAsyncSelect(SOCKET s, HWND hWnd, UINT wMsg, int lEvent) GQOS(WSAAsyncSelect);
#define WSAMAKESELECTREPLY(event, error) ((LPARAM)(((DWORD)(error) << 16) | ((DWORD)(event) & 0xffff)))
#define WSAGETSELECTEVENT(lParam) ((WORD)((lParam) & 0xffff))
#define WSAGETSELECTERROR(lParam) ((WORD)(((lParam) >> 16) & 0xffff))
extern int WSAAPI WSAEventSelect(SOCKET s, WSAEVENT hEventObject, int lNetworkEvents) GQOS(WSAEventSelect);
extern int WSAAPI WSAEnumNetworkEvents(SOCKET s, WSAEVENT hEventObject, LPWSANETWORKEVENTS lpNetworkEvents)
    GQOS(WSAEnumNetworkEvents);
extern int WSAAPI WSAAddressToStringA(struct sockaddr *lpsaAddress, DWORD dwAddressLength,
                                      LPWSAPROTOCOL_INFOA lpProtocolInfo, LPSTR lpszAddressString,
                                      LPDWORD lpdwAddressStringLength) GQOS(WSAAddressToStringA);
extern int WSAAPI WSAAddressToStringW(struct sockaddr *lpsaAddress, DWORD dwAddressLength,
                                      LPWSAPROTOCOL_INFOW lpProtocolInfo, LPWSTR lpszAddressString,
                                      LPDWORD lpdwAddressStringLength) GQOS(WSAAddressToStringW);
extern int WSAAPI WSAStringToAddressA(LPSTR AddressString, INT AddressFamily, LPWSAPROTOCOL_INFOA lpProtocolInfo,
                                      struct sockaddr *lpAddress, LPINT lpAddressLength) GQOS(WSAStringToAddressA);
extern int WSAAPI WSAStringToAddressW(LPWSTR AddressString, INT AddressFamily, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                                      struct sockaddr *lpAddress, LPINT lpAddressLength) GQOS(WSAStringToAddressW);
extern struct hostent *WSAAPI gethostbyname(const char *name) GQOS(gethostbyname);
extern struct hostent *WSAAPI gethostbyaddr(const char *addr, int len, int type) GQOS(gethostbyaddr);
extern int WSAAPI gqos_gethostname(char *name, int namelen);
#define gethostname gqos_gethostname
extern struct servent *WSAAPI getservbyname(const char *name, const char *proto) GQOS(getservbyname);
extern struct servent *WSAAPI getservbyport(int port, const char *proto) GQOS(getservbyport);
extern struct protoent *WSAAPI getprotobyname(const char *name) GQOS(getprotobyname);
extern struct protoent *WSAAPI getprotobynumber(int number) GQOS(getprotobynumber);
extern BOOL WSAAPI WSAGetQOSByName(SOCKET s, LPWSABUF lpQOSName, LPQOS lpQOS) GQOS(WSAGetQOSByName);
extern int WSAAPI WSAEnumProtocolsA(LPINT lpiProtocols, LPWSAPROTOCOL_INFOA lpProtocolBuffer,
                                    LPDWORD lpdwBufferLength) GQOS(WSAEnumProtocolsA);
extern int WSAAPI WSAEnumProtocolsW(LPINT lpiProtocols, LPWSAPROTOCOL_INFOW lpProtocolBuffer,
                                    LPDWORD lpdwBufferLength) GQOS(WSAEnumProtocolsW);

#include "gqos/functions.h"
#include "gqos/name_space.h"

/* Texts of addresses: dotted numbers, as Winsock's own two do it. */
static __inline ULONG inet_addr(const char *text) {
    ULONG parts[4] = {0, 0, 0, 0}, address;
    int count = 0, digits, i;
    if (!text || !*text)
        return INADDR_NONE;
    if (text[0] == ' ' && !text[1]) {
        WSASetLastError(0);
        return 0;
    }
    for (;;) {
        char *end;
        unsigned long value;
        if (count == 4 || *text < '0' || *text > '9')
            return INADDR_NONE;
        value = strtoul(text, &end, 0);
        digits = (int)(end - text);
        if (digits == 0 || value > 0xffffffffUL)
            return INADDR_NONE;
        parts[count++] = (ULONG)value;
        if (*end == 0)
            break;
        if (*end != '.')
            return INADDR_NONE;
        text = end + 1;
    }
    for (i = 0; i < count - 1; i++)
        if (parts[i] > 255)
            return INADDR_NONE;
    if (count > 1 && parts[count - 1] >> (8 * (5 - count)))
        return INADDR_NONE;
    address = parts[count - 1];
    for (i = 0; i < count - 1; i++)
        address |= parts[i] << (24 - 8 * i);
    WSASetLastError(0);
    return gqos_htonl(address);
}

static __inline char *inet_ntoa(struct in_addr in) {
    static __thread char text[16];
    char *to = text;
    UCHAR bytes[4];
    int i;
    bytes[0] = in.S_un.S_un_b.s_b1;
    bytes[1] = in.S_un.S_un_b.s_b2;
    bytes[2] = in.S_un.S_un_b.s_b3;
    bytes[3] = in.S_un.S_un_b.s_b4;
    for (i = 0; i < 4; i++) {
        if (bytes[i] > 99)
            *to++ = (char)('0' + bytes[i] / 100);
        if (bytes[i] > 9)
            *to++ = (char)('0' + bytes[i] / 10 % 10);
        *to++ = (char)('0' + bytes[i] % 10);
        *to++ = (char)(i < 3 ? '.' : 0);
    }
    return text;
}

#include "gqos/pointers.h"

#ifdef __cplusplus
}
/* An overload and not a macro, which would also rename the methods of other headers. NULL is the C library's. */
template <class Entry> inline int poll(Entry *fds, nfds_t count, int timeout) { return gqos_poll(fds, count, timeout); }
#endif

#include "gqos/windows_api.h"

#endif
