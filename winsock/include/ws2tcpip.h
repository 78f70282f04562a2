/* TCP/IP beyond winsock2.h: IPv6 and options. */
#ifndef _WS2TCPIP_H_
#define _WS2TCPIP_H_

#include "winsock2.h"

#ifdef __cplusplus
extern "C" {
#endif

#include "gqos/ip_options.h"

#define IP_ADD_SOURCE_MEMBERSHIP 15
#define IP_DROP_SOURCE_MEMBERSHIP 16
#define IP_BLOCK_SOURCE 17
#define IP_UNBLOCK_SOURCE 18
#define IP_PKTINFO 19
#define IP_HOPLIMIT 21
#define IP_RECVTTL 21
#define IP_RECEIVE_BROADCAST 22
#define IP_RECVIF 24
#define IP_RECVDSTADDR 25
#define IP_IFLIST 28
#define IP_ADD_IFLIST 29
#define IP_DEL_IFLIST 30
#define IP_UNICAST_IF 31
#define IP_RTHDR 32
#define IP_GET_IFLIST 33
#define IP_RECVRTHDR 38
#define IP_TCLASS 39
#define IP_RECVTCLASS 40
#define IP_RECVTOS 40
#define IP_ORIGINAL_ARRIVAL_IF 47
#define IP_ECN 50
#define IP_RECVECN 50
#define IP_PKTINFO_EX 51
#define IP_WFP_REDIRECT_RECORDS 60
#define IP_WFP_REDIRECT_CONTEXT 70
#define IP_MTU_DISCOVER 71
#define IP_MTU 73
#define IP_NRT_INTERFACE 74
#define IP_RECVERR 75
#define IP_USER_MTU 76
#define IP_UNSPECIFIED_TYPE_OF_SERVICE (-1)
#define IP_UNSPECIFIED_HOP_LIMIT (-1)
#define IP_UNSPECIFIED_USER_MTU MAXULONG
#define IPV6_HOPOPTS 1
#define IPV6_HDRINCL 2
#define IPV6_UNICAST_HOPS 4
#define IPV6_MULTICAST_IF 9
#define IPV6_MULTICAST_HOPS 10
#define IPV6_MULTICAST_LOOP 11
#define IPV6_JOIN_GROUP 12
#define IPV6_ADD_MEMBERSHIP IPV6_JOIN_GROUP
#define IPV6_LEAVE_GROUP 13
#define IPV6_DROP_MEMBERSHIP IPV6_LEAVE_GROUP
#define IPV6_DONTFRAG 14
#define IPV6_PKTINFO 19
#define IPV6_HOPLIMIT 21
#define IPV6_PROTECTION_LEVEL 23
#define IPV6_RECVIF 24
#define IPV6_RECVDSTADDR 25
#define IPV6_CHECKSUM 26
#define IPV6_V6ONLY 27
#define IPV6_IFLIST 28
#define IPV6_ADD_IFLIST 29
#define IPV6_DEL_IFLIST 30
#define IPV6_UNICAST_IF 31
#define IPV6_RTHDR 32
#define IPV6_GET_IFLIST 33
#define IPV6_RECVRTHDR 38
#define IPV6_TCLASS 39
#define IPV6_RECVTCLASS 40
#define IPV6_ECN 50
#define IPV6_RECVECN 50
#define IPV6_PKTINFO_EX 51
#define IPV6_WFP_REDIRECT_RECORDS 60
#define IPV6_WFP_REDIRECT_CONTEXT 70
#define IPV6_MTU_DISCOVER 71
#define IPV6_MTU 72
#define IPV6_NRT_INTERFACE 74
#define IPV6_RECVERR 75
#define IPV6_USER_MTU 76
#define IPV6_ADDRESS_BITS 128
#define IP_PROTECTION_LEVEL IPV6_PROTECTION_LEVEL
#define PROTECTION_LEVEL_UNRESTRICTED 10
#define PROTECTION_LEVEL_EDGERESTRICTED 20
#define PROTECTION_LEVEL_RESTRICTED 30
#define PROTECTION_LEVEL_DEFAULT ((UINT)-1)
#define MCAST_JOIN_GROUP 41
#define MCAST_LEAVE_GROUP 42
#define MCAST_BLOCK_SOURCE 43
#define MCAST_UNBLOCK_SOURCE 44
#define MCAST_JOIN_SOURCE_GROUP 45
#define MCAST_LEAVE_SOURCE_GROUP 46
#define IFF_UP 0x00000001
#define IFF_BROADCAST 0x00000002
#define IFF_LOOPBACK 0x00000004
#define IFF_POINTTOPOINT 0x00000008
#define IFF_MULTICAST 0x00000010
#define SIO_GET_INTERFACE_LIST 0x4004747f
#define SIO_GET_INTERFACE_LIST_EX 0x4004747e
#define SIO_SET_MULTICAST_FILTER 0x8004747d
#define SIO_GET_MULTICAST_FILTER 0x8004747c
#define SIOCSIPMSFILTER SIO_SET_MULTICAST_FILTER
#define SIOCGIPMSFILTER SIO_GET_MULTICAST_FILTER
#define SIOCSMSFILTER 0x8004747e
#define SIOCGMSFILTER 0x8004747f
#define SIO_IDEAL_SEND_BACKLOG_QUERY 0x4004747b
#define SIO_IDEAL_SEND_BACKLOG_CHANGE 0x2000747a

typedef struct in6_addr {
    union {
        UCHAR Byte[16];
        USHORT Word[8];
    } u;
} IN6_ADDR, *PIN6_ADDR, *LPIN6_ADDR;
#define in_addr6 in6_addr
#define _S6_un u
#define _S6_u8 Byte
#define s6_addr u.Byte
#define s6_bytes u.Byte
#define s6_words u.Word

struct sockaddr_in6 {
    ADDRESS_FAMILY sin6_family;
    USHORT sin6_port;
    ULONG sin6_flowinfo;
    IN6_ADDR sin6_addr;
    __extension__ union {
        ULONG sin6_scope_id;
        SCOPE_ID sin6_scope_struct;
    };
};
typedef struct sockaddr_in6 SOCKADDR_IN6, *PSOCKADDR_IN6, *LPSOCKADDR_IN6;
typedef struct sockaddr_in6 SOCKADDR_IN6_LH, *PSOCKADDR_IN6_LH, *LPSOCKADDR_IN6_LH;

struct ipv6_mreq {
    IN6_ADDR ipv6mr_multiaddr;
    ULONG ipv6mr_interface;
};
typedef struct ipv6_mreq IPV6_MREQ, *PIPV6_MREQ;

#include "gqos/interfaces.h"

#define SS_PORT(address) (((struct sockaddr_in *)(address))->sin_port)
#define INET_ADDRSTRLEN 22
#define INET6_ADDRSTRLEN 65

#define IN6ADDR_ANY_INIT {{{0}}}
#define IN6ADDR_LOOPBACK_INIT {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}}

static const IN6_ADDR gqos_in6addr_any = IN6ADDR_ANY_INIT;
static const IN6_ADDR gqos_in6addr_loopback = IN6ADDR_LOOPBACK_INIT;
#define in6addr_any gqos_in6addr_any
#define in6addr_loopback gqos_in6addr_loopback

#define AI_PASSIVE 0x01
#define AI_CANONNAME 0x02
#define AI_NUMERICHOST 0x04
#define AI_NUMERICSERV 0x08
#define AI_ALL 0x00000100
#define AI_ADDRCONFIG 0x00000400
#define AI_V4MAPPED 0x00000800
#define AI_NON_AUTHORITATIVE 0x00004000
#define AI_SECURE 0x00008000
#define AI_RETURN_PREFERRED_NAMES 0x00010000
#define AI_FQDN 0x00020000
#define AI_FILESERVER 0x00040000
#define AI_DISABLE_IDN_ENCODING 0x00080000
#define AI_DNS_ONLY 0x00000010
#define AI_FORCE_CLEAR_TEXT 0x00000020
#define AI_BYPASS_DNS_CACHE 0x00000040
#define AI_RETURN_TTL 0x00000080
#define AI_REQUIRE_SECURE 0x20000000
#define AI_RESOLUTION_HANDLE 0x40000000
#define AI_EXTENDED 0x80000000
#define NI_NOFQDN 0x01
#define NI_NUMERICHOST 0x02
#define NI_NAMEREQD 0x04
#define NI_NUMERICSERV 0x08
#define NI_DGRAM 0x10
#define NI_MAXHOST 1025
#define NI_MAXSERV 32
#define EAI_AGAIN WSATRY_AGAIN
#define EAI_BADFLAGS WSAEINVAL
#define EAI_FAMILY WSAEAFNOSUPPORT
#define EAI_NONAME WSAHOST_NOT_FOUND
#define EAI_FAIL WSANO_RECOVERY
#define EAI_MEMORY WSA_NOT_ENOUGH_MEMORY
#define EAI_NODATA WSANO_DATA
#define EAI_SERVICE WSATYPE_NOT_FOUND
#define EAI_SOCKTYPE WSAESOCKTNOSUPPORT

typedef struct addrinfo {
    int ai_flags;
    int ai_family;
    int ai_socktype;
    int ai_protocol;
    size_t ai_addrlen;
    char *ai_canonname;
    struct sockaddr *ai_addr;
    struct addrinfo *ai_next;
} ADDRINFOA, ADDRINFO, *PADDRINFOA, *LPADDRINFO;

typedef struct addrinfoW {
    int ai_flags;
    int ai_family;
    int ai_socktype;
    int ai_protocol;
    size_t ai_addrlen;
    PWSTR ai_canonname;
    struct sockaddr *ai_addr;
    struct addrinfoW *ai_next;
} ADDRINFOW, *PADDRINFOW;

/* The extended form: with a name space's data, which is never there. */
#define GQOS_ADDRINFO_EX(text, self)                                                                           \
    int ai_flags;                                                                                              \
    int ai_family;                                                                                             \
    int ai_socktype;                                                                                           \
    int ai_protocol;                                                                                           \
    size_t ai_addrlen;                                                                                         \
    text ai_canonname;                                                                                         \
    struct sockaddr *ai_addr;                                                                                  \
    void *ai_blob;                                                                                             \
    size_t ai_bloblen;                                                                                         \
    LPGUID ai_provider;                                                                                        \
    struct self *ai_next
typedef struct addrinfoexA {
    GQOS_ADDRINFO_EX(LPSTR, addrinfoexA);
} ADDRINFOEXA, *PADDRINFOEXA, *LPADDRINFOEXA;
typedef struct addrinfoexW {
    GQOS_ADDRINFO_EX(LPWSTR, addrinfoexW);
} ADDRINFOEXW, *PADDRINFOEXW, *LPADDRINFOEXW;
/* With AI_EXTENDED, which is not supported: no call returns these two. */
#define ADDRINFOEX_VERSION_2 2
typedef struct addrinfoex2A {
    GQOS_ADDRINFO_EX(LPSTR, addrinfoex2A);
    int ai_version;
    LPSTR ai_fqdn;
} ADDRINFOEX2A, *PADDRINFOEX2A, *LPADDRINFOEX2A;
typedef struct addrinfoex2W {
    GQOS_ADDRINFO_EX(LPWSTR, addrinfoex2W);
    int ai_version;
    LPWSTR ai_fqdn;
} ADDRINFOEX2W, *PADDRINFOEX2W, *LPADDRINFOEX2W;
typedef void(CALLBACK *LPLOOKUPSERVICE_COMPLETION_ROUTINE)(DWORD dwError, DWORD dwBytes, LPWSAOVERLAPPED lpOverlapped);

struct _SOCKET_SECURITY_SETTINGS;
struct _SOCKET_SECURITY_QUERY_TEMPLATE;
struct _SOCKET_SECURITY_QUERY_INFO;
struct _SOCKET_PEER_TARGET_NAME;

extern INT WSAAPI getaddrinfo(PCSTR node, PCSTR service, const ADDRINFOA *hints, PADDRINFOA *result)
    GQOS(getaddrinfo);
extern void WSAAPI freeaddrinfo(PADDRINFOA first) GQOS(freeaddrinfo);
extern INT WSAAPI getnameinfo(const struct sockaddr *address, int length, char *host, DWORD host_size, char *service,
                              DWORD service_size, INT flags) GQOS(getnameinfo);
extern INT WSAAPI GetAddrInfoW(PCWSTR node, PCWSTR service, const ADDRINFOW *hints, PADDRINFOW *result)
    GQOS(GetAddrInfoW);
extern void WSAAPI FreeAddrInfoW(PADDRINFOW first) GQOS(freeaddrinfo);
extern INT WSAAPI GetNameInfoW(const struct sockaddr *address, int length, PWSTR host, DWORD host_size, PWSTR service,
                               DWORD service_size, INT flags) GQOS(GetNameInfoW);
#define GetAddrInfoA getaddrinfo
#define FreeAddrInfoA freeaddrinfo
#define GetNameInfoA getnameinfo
extern INT WSAAPI GetAddrInfoExA(PCSTR pName, PCSTR pServiceName, DWORD dwNameSpace, LPGUID lpNspId,
                                 const ADDRINFOEXA *hints, PADDRINFOEXA *ppResult, struct timeval *timeout,
                                 LPOVERLAPPED lpOverlapped, LPLOOKUPSERVICE_COMPLETION_ROUTINE lpCompletionRoutine,
                                 LPHANDLE lpNameHandle) GQOS(GetAddrInfoExA);
extern INT WSAAPI GetAddrInfoExW(PCWSTR pName, PCWSTR pServiceName, DWORD dwNameSpace, LPGUID lpNspId,
                                 const ADDRINFOEXW *hints, PADDRINFOEXW *ppResult, struct timeval *timeout,
                                 LPOVERLAPPED lpOverlapped, LPLOOKUPSERVICE_COMPLETION_ROUTINE lpCompletionRoutine,
                                 LPHANDLE lpNameHandle) GQOS(GetAddrInfoExW);
extern INT WSAAPI GetAddrInfoExCancel(LPHANDLE lpHandle) GQOS(GetAddrInfoExCancel);
extern INT WSAAPI GetAddrInfoExOverlappedResult(LPOVERLAPPED lpOverlapped) GQOS(GetAddrInfoExOverlappedResult);
extern INT WSAAPI SetAddrInfoExA(PCSTR pName, PCSTR pServiceName, SOCKET_ADDRESS *pAddresses, DWORD dwAddressCount,
                                 LPBLOB lpBlob, DWORD dwFlags, DWORD dwNameSpace, LPGUID lpNspId,
                                 struct timeval *timeout, LPOVERLAPPED lpOverlapped,
                                 LPLOOKUPSERVICE_COMPLETION_ROUTINE lpCompletionRoutine, LPHANDLE lpNameHandle)
    GQOS(SetAddrInfoExA);
extern INT WSAAPI SetAddrInfoExW(PCWSTR pName, PCWSTR pServiceName, SOCKET_ADDRESS *pAddresses, DWORD dwAddressCount,
                                 LPBLOB lpBlob, DWORD dwFlags, DWORD dwNameSpace, LPGUID lpNspId,
                                 struct timeval *timeout, LPOVERLAPPED lpOverlapped,
                                 LPLOOKUPSERVICE_COMPLETION_ROUTINE lpCompletionRoutine, LPHANDLE lpNameHandle)
    GQOS(SetAddrInfoExW);
extern void WSAAPI FreeAddrInfoEx(PADDRINFOEXA first) GQOS(FreeAddrInfoEx);
extern void WSAAPI FreeAddrInfoExW(PADDRINFOEXW first) GQOS(FreeAddrInfoEx);
#define FreeAddrInfoExA FreeAddrInfoEx
#define GAI_STRERROR_BUFFER_SIZE 1024
extern char *WSAAPI gai_strerrorA(int error) GQOS(gai_strerrorA);
extern WCHAR *WSAAPI gai_strerrorW(int error) GQOS(gai_strerrorW);
typedef int gqos_socklen_t;
#define socklen_t gqos_socklen_t

extern int WSAAPI WSASetSocketSecurity(SOCKET s, const struct _SOCKET_SECURITY_SETTINGS *settings, ULONG length,
                                       LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
    GQOS(WSASetSocketSecurity);
extern int WSAAPI WSAQuerySocketSecurity(SOCKET s, const struct _SOCKET_SECURITY_QUERY_TEMPLATE *query, ULONG length,
                                         struct _SOCKET_SECURITY_QUERY_INFO *info, ULONG *info_length,
                                         LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
    GQOS(WSAQuerySocketSecurity);
extern int WSAAPI WSASetSocketPeerTargetName(SOCKET s, const struct _SOCKET_PEER_TARGET_NAME *name, ULONG length,
                                             LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
    GQOS(WSASetSocketPeerTargetName);
extern int WSAAPI WSADeleteSocketPeerTargetName(SOCKET s, const struct sockaddr *peer, ULONG length,
                                                LPWSAOVERLAPPED overlapped,
                                                LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
    GQOS(WSADeleteSocketPeerTargetName);
extern int WSAAPI WSAImpersonateSocketPeer(SOCKET s, const struct sockaddr *peer, ULONG length)
    GQOS(WSAImpersonateSocketPeer);
extern int WSAAPI WSARevertImpersonation(void) GQOS(WSARevertImpersonation);

extern INT WSAAPI inet_pton(INT family, PCSTR text, PVOID address) GQOS(inet_pton);
extern PCSTR WSAAPI inet_ntop(INT family, const VOID *address, PSTR text, size_t size) GQOS(inet_ntop);
extern INT WSAAPI InetPtonW(INT family, PCWSTR text, PVOID address) GQOS(InetPtonW);
extern PCWSTR WSAAPI InetNtopW(INT family, const VOID *address, PWSTR text, size_t size) GQOS(InetNtopW);
#define InetPtonA inet_pton
#define InetNtopA inet_ntop
#ifdef UNICODE
#define GetAddrInfo GetAddrInfoW
#define FreeAddrInfo FreeAddrInfoW
#define GetNameInfo GetNameInfoW
#define InetPton InetPtonW
#define InetNtop InetNtopW
typedef ADDRINFOW ADDRINFOT, *PADDRINFOT;
typedef ADDRINFOEXW ADDRINFOEX, *PADDRINFOEX;
#define addrinfoEx addrinfoexW
#define GetAddrInfoEx GetAddrInfoExW
#define SetAddrInfoEx SetAddrInfoExW
#define gai_strerror gai_strerrorW
#else
typedef ADDRINFOA ADDRINFOT, *PADDRINFOT;
typedef ADDRINFOEXA ADDRINFOEX, *PADDRINFOEX;
#define addrinfoEx addrinfoexA
#define GetAddrInfoEx GetAddrInfoExA
#define SetAddrInfoEx SetAddrInfoExA
#define gai_strerror gai_strerrorA
#define GetAddrInfo GetAddrInfoA
#define FreeAddrInfo FreeAddrInfoA
#define GetNameInfo GetNameInfoA
#define InetPton InetPtonA
#define InetNtop InetNtopA
#endif

GQOS_POINTER(LPFN_GETADDRINFO, getaddrinfo);
GQOS_POINTER(LPFN_GETADDRINFOW, GetAddrInfoW);
GQOS_POINTER(LPFN_FREEADDRINFO, freeaddrinfo);
GQOS_POINTER(LPFN_FREEADDRINFOW, FreeAddrInfoW);
GQOS_POINTER(LPFN_GETNAMEINFO, getnameinfo);
GQOS_POINTER(LPFN_GETNAMEINFOW, GetNameInfoW);
GQOS_POINTER(LPFN_INET_PTON, inet_pton);
GQOS_POINTER(LPFN_INET_PTONW, InetPtonW);
GQOS_POINTER(LPFN_INET_NTOP, inet_ntop);
GQOS_POINTER(LPFN_INET_NTOPW, InetNtopW);
#define LPFN_GETADDRINFOA LPFN_GETADDRINFO
#define LPFN_FREEADDRINFOA LPFN_FREEADDRINFO
#define LPFN_GETNAMEINFOA LPFN_GETNAMEINFO
#define LPFN_INET_PTONA LPFN_INET_PTON
GQOS_POINTER(LPFN_GETADDRINFOEXA, GetAddrInfoExA);
GQOS_POINTER(LPFN_GETADDRINFOEXW, GetAddrInfoExW);
GQOS_POINTER(LPFN_SETADDRINFOEXA, SetAddrInfoExA);
GQOS_POINTER(LPFN_SETADDRINFOEXW, SetAddrInfoExW);
GQOS_POINTER(LPFN_FREEADDRINFOEXA, FreeAddrInfoExA);
GQOS_POINTER(LPFN_FREEADDRINFOEXW, FreeAddrInfoExW);
#ifdef UNICODE
#define LPFN_GETADDRINFOT LPFN_GETADDRINFOW
#define LPFN_FREEADDRINFOT LPFN_FREEADDRINFOW
#define LPFN_GETNAMEINFOT LPFN_GETNAMEINFOW
#define LPFN_GETADDRINFOEX LPFN_GETADDRINFOEXW
#define LPFN_SETADDRINFOEX LPFN_SETADDRINFOEXW
#define LPFN_FREEADDRINFOEX LPFN_FREEADDRINFOEXW
#else
#define LPFN_GETADDRINFOT LPFN_GETADDRINFO
#define LPFN_FREEADDRINFOT LPFN_FREEADDRINFO
#define LPFN_GETNAMEINFOT LPFN_GETNAMEINFO
#define LPFN_GETADDRINFOEX LPFN_GETADDRINFOEXA
#define LPFN_SETADDRINFOEX LPFN_SETADDRINFOEXA
#define LPFN_FREEADDRINFOEX LPFN_FREEADDRINFOEXA
#endif
#define LPFN_INET_NTOPA LPFN_INET_NTOP

#include "gqos/in6_addresses.h"
#include "gqos/source_filters.h"

#ifdef __cplusplus
}
#endif
#endif
