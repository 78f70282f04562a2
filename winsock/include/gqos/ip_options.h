/* Options of IPv4 that winsock.h has as well: with the numbers of Winsock 2, which setsockopt takes. */
#ifndef GQOS_IP_OPTIONS_H
#define GQOS_IP_OPTIONS_H

#define IP_OPTIONS 1
#define IP_HDRINCL 2
#define IP_TOS 3
#define IP_TTL 4
#define IP_MULTICAST_IF 9
#define IP_MULTICAST_TTL 10
#define IP_MULTICAST_LOOP 11
#define IP_ADD_MEMBERSHIP 12
#define IP_DROP_MEMBERSHIP 13
#define IP_DONTFRAGMENT 14

struct ip_mreq {
    IN_ADDR imr_multiaddr;
    IN_ADDR imr_interface;
};
typedef struct ip_mreq IP_MREQ, *PIP_MREQ;

#endif
