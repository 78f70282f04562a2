/* TCP/IP beyond winsock2.h: IPv6 and options. */
#ifndef _WS2TCPIP_H_
#define _WS2TCPIP_H_

#include "winsock2.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IP_OPTIONS 1
#define IP_HDRINCL 2
#define IP_TOS 3
#define IP_TTL 4
#define IP_MULTICAST_IF 9
#define IP_MULTICAST_TTL 10
#define IP_MULTICAST_LOOP 11
#define IPV6_UNICAST_HOPS 4
#define IPV6_V6ONLY 27

typedef struct in6_addr {
    union {
        UCHAR Byte[16];
        USHORT Word[8];
    } u;
} IN6_ADDR, *PIN6_ADDR, *LPIN6_ADDR;
#define s6_addr u.Byte
#define s6_bytes u.Byte
#define s6_words u.Word

struct sockaddr_in6 {
    ADDRESS_FAMILY sin6_family;
    USHORT sin6_port;
    ULONG sin6_flowinfo;
    IN6_ADDR sin6_addr;
    ULONG sin6_scope_id;
};
typedef struct sockaddr_in6 SOCKADDR_IN6, *PSOCKADDR_IN6, *LPSOCKADDR_IN6;

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
#define AI_ADDRCONFIG 0x0400
#define NI_NUMERICHOST 0x02
#define NI_NAMEREQD 0x04
#define NI_NUMERICSERV 0x08
#define NI_MAXHOST 1025
#define NI_MAXSERV 32
#define EAI_AGAIN WSATRY_AGAIN
#define EAI_BADFLAGS WSAEINVAL
#define EAI_FAMILY WSAEAFNOSUPPORT
#define EAI_NONAME WSAHOST_NOT_FOUND
#define EAI_SERVICE 10109
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

extern INT WSAAPI getaddrinfo(PCSTR node, PCSTR service, const ADDRINFOA *hints, PADDRINFOA *result)
    GQOS(getaddrinfo);
extern void WSAAPI freeaddrinfo(PADDRINFOA first) GQOS(freeaddrinfo);
extern INT WSAAPI getnameinfo(const struct sockaddr *address, int length, char *host, DWORD host_size, char *service,
                              DWORD service_size, INT flags) GQOS(getnameinfo);

#ifdef __cplusplus
}
#endif
#endif
