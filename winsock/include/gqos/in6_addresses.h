/* Questions about IPv6 addresses, and IPv4 ones in the same form. */
#ifndef GQOS_IN6_ADDRESSES_H
#define GQOS_IN6_ADDRESSES_H

/* Whether the bytes of a range are all 0. */
static __inline int gqos_are_zero(const IN6_ADDR *a, int first, int end) {
    for (; first < end; first++)
        if (a->u.Byte[first])
            return 0;
    return 1;
}

static __inline int IN6_ADDR_EQUAL(const IN6_ADDR *a, const IN6_ADDR *b) {
    int i;
    for (i = 0; i < 16; i++)
        if (a->u.Byte[i] != b->u.Byte[i])
            return 0;
    return 1;
}
#define IN6_ARE_ADDR_EQUAL IN6_ADDR_EQUAL
static __inline int IN6_IS_ADDR_UNSPECIFIED(const IN6_ADDR *a) { return gqos_are_zero(a, 0, 16); }
static __inline int IN6_IS_ADDR_LOOPBACK(const IN6_ADDR *a) { return gqos_are_zero(a, 0, 15) && a->u.Byte[15] == 1; }
static __inline int IN6_IS_ADDR_MULTICAST(const IN6_ADDR *a) { return a->u.Byte[0] == 0xff; }
static __inline int IN6_IS_ADDR_LINKLOCAL(const IN6_ADDR *a) {
    return a->u.Byte[0] == 0xfe && (a->u.Byte[1] & 0xc0) == 0x80;
}
static __inline int IN6_IS_ADDR_SITELOCAL(const IN6_ADDR *a) {
    return a->u.Byte[0] == 0xfe && (a->u.Byte[1] & 0xc0) == 0xc0;
}
static __inline int IN6_IS_ADDR_GLOBAL(const IN6_ADDR *a) {
    return (a->u.Byte[0] & 0xe0) != 0 && (a->u.Byte[0] & 0xe0) != 0xe0;
}
static __inline int IN6_IS_ADDR_EUI64(const IN6_ADDR *a) {
    return (a->u.Byte[0] & 0xe0) != 0 && !IN6_IS_ADDR_MULTICAST(a);
}
static __inline int IN6_IS_ADDR_ANYCAST(const IN6_ADDR *a) {
    return IN6_IS_ADDR_EUI64(a) && gqos_are_zero(a, 8, 16);
}
static __inline int IN6_IS_ADDR_V4MAPPED(const IN6_ADDR *a) {
    return gqos_are_zero(a, 0, 10) && a->u.Byte[10] == 0xff && a->u.Byte[11] == 0xff;
}
static __inline int IN6_IS_ADDR_V4COMPAT(const IN6_ADDR *a) {
    return gqos_are_zero(a, 0, 12) && !gqos_are_zero(a, 12, 16) && !(gqos_are_zero(a, 12, 15) && a->u.Byte[15] == 1);
}
static __inline int IN6_IS_ADDR_V4TRANSLATED(const IN6_ADDR *a) {
    return gqos_are_zero(a, 0, 8) && a->u.Byte[8] == 0xff && a->u.Byte[9] == 0xff && gqos_are_zero(a, 10, 12);
}
/* Of a multicast address the lower half of the second byte is the scope. */
#define GQOS_MULTICAST_SCOPE(a, scope) (IN6_IS_ADDR_MULTICAST(a) && ((a)->u.Byte[1] & 0xf) == (scope))
static __inline int IN6_IS_ADDR_MC_NODELOCAL(const IN6_ADDR *a) { return GQOS_MULTICAST_SCOPE(a, 0x1); }
static __inline int IN6_IS_ADDR_MC_LINKLOCAL(const IN6_ADDR *a) { return GQOS_MULTICAST_SCOPE(a, 0x2); }
static __inline int IN6_IS_ADDR_MC_SITELOCAL(const IN6_ADDR *a) { return GQOS_MULTICAST_SCOPE(a, 0x5); }
static __inline int IN6_IS_ADDR_MC_ORGLOCAL(const IN6_ADDR *a) { return GQOS_MULTICAST_SCOPE(a, 0x8); }
static __inline int IN6_IS_ADDR_MC_GLOBAL(const IN6_ADDR *a) { return GQOS_MULTICAST_SCOPE(a, 0xe); }

static __inline void IN6_SET_ADDR_UNSPECIFIED(IN6_ADDR *a) { memset(a->u.Byte, 0, sizeof a->u.Byte); }
static __inline void IN6_SET_ADDR_LOOPBACK(IN6_ADDR *a) {
    IN6_SET_ADDR_UNSPECIFIED(a);
    a->u.Byte[15] = 1;
}
static __inline void IN6_SET_ADDR_V4MAPPED(IN6_ADDR *a, const IN_ADDR *v4) {
    IN6_SET_ADDR_UNSPECIFIED(a);
    a->u.Byte[10] = a->u.Byte[11] = 0xff;
    memcpy(a->u.Byte + 12, v4, sizeof *v4);
}
static __inline const UCHAR *IN6_GET_ADDR_V4MAPPED(const IN6_ADDR *a) { return a->u.Byte + 12; }
static __inline int IN6ADDR_ISANY(const SOCKADDR_IN6 *a) { return IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr); }
static __inline int IN6ADDR_ISLOOPBACK(const SOCKADDR_IN6 *a) { return IN6_IS_ADDR_LOOPBACK(&a->sin6_addr); }
static __inline void IN6ADDR_SETANY(SOCKADDR_IN6 *a) {
    memset(a, 0, sizeof *a);
    a->sin6_family = AF_INET6;
}
static __inline void IN6ADDR_SETLOOPBACK(SOCKADDR_IN6 *a) {
    IN6ADDR_SETANY(a);
    a->sin6_addr.u.Byte[15] = 1;
}
static __inline void IN6ADDR_SETV4MAPPED(SOCKADDR_IN6 *a, const IN_ADDR *v4, SCOPE_ID scope, USHORT port) {
    IN6ADDR_SETANY(a);
    a->sin6_port = port;
    IN6_SET_ADDR_V4MAPPED(&a->sin6_addr, v4);
    a->sin6_scope_struct = scope;
}
static __inline int IN6ADDR_ISV4MAPPED(const SOCKADDR_IN6 *a) { return IN6_IS_ADDR_V4MAPPED(&a->sin6_addr); }

static __inline int IN4_ADDR_EQUAL(const IN_ADDR *a, const IN_ADDR *b) { return a->s_addr == b->s_addr; }
static __inline int IN4_IS_ADDR_UNSPECIFIED(const IN_ADDR *a) { return a->s_addr == 0; }
static __inline int IN4_IS_ADDR_LOOPBACK(const IN_ADDR *a) { return a->S_un.S_un_b.s_b1 == 127; }
static __inline int IN4_IS_ADDR_MULTICAST(const IN_ADDR *a) { return a->S_un.S_un_b.s_b1 >> 4 == 14; }
static __inline int IN4_IS_ADDR_BROADCAST(const IN_ADDR *a) { return a->s_addr == 0xffffffff; }
static __inline int IN4_IS_ADDR_LINKLOCAL(const IN_ADDR *a) {
    return a->S_un.S_un_b.s_b1 == 169 && a->S_un.S_un_b.s_b2 == 254;
}

#endif
