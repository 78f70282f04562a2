/* Structures with addresses, and messages with control data. */
#ifndef GQOS_ADDRESSES_H
#define GQOS_ADDRESSES_H

typedef struct _SOCKET_ADDRESS {
    LPSOCKADDR lpSockaddr;
    INT iSockaddrLength;
} SOCKET_ADDRESS, *PSOCKET_ADDRESS, *LPSOCKET_ADDRESS;

typedef struct _SOCKET_ADDRESS_LIST {
    INT iAddressCount;
    SOCKET_ADDRESS Address[1];
} SOCKET_ADDRESS_LIST, *PSOCKET_ADDRESS_LIST, *LPSOCKET_ADDRESS_LIST;
#define SIZEOF_SOCKET_ADDRESS_LIST(count) (offsetof(SOCKET_ADDRESS_LIST, Address) + (count) * sizeof(SOCKET_ADDRESS))

typedef struct _CSADDR_INFO {
    SOCKET_ADDRESS LocalAddr;
    SOCKET_ADDRESS RemoteAddr;
    INT iSocketType;
    INT iProtocol;
} CSADDR_INFO, *PCSADDR_INFO, *LPCSADDR_INFO;

typedef enum _SCOPE_LEVEL {
    ScopeLevelInterface = 1,
    ScopeLevelLink = 2,
    ScopeLevelSubnet = 3,
    ScopeLevelAdmin = 4,
    ScopeLevelSite = 5,
    ScopeLevelOrganization = 8,
    ScopeLevelGlobal = 14,
    ScopeLevelCount = 16
} SCOPE_LEVEL;

typedef struct _SCOPE_ID {
    __extension__ union {
        __extension__ struct {
            ULONG Zone : 28;
            ULONG Level : 4;
        };
        ULONG Value;
    };
} SCOPE_ID, *PSCOPE_ID;

struct netent {
    char *n_name;
    char **n_aliases;
    short n_addrtype;
    u_long n_net;
};

struct sockproto {
    USHORT sp_family;
    USHORT sp_protocol;
};
typedef struct sockproto SOCKPROTO, *PSOCKPROTO;

/* A message: an address, buffers, and control data. */
typedef struct _WSAMSG {
    LPSOCKADDR name;
    INT namelen;
    LPWSABUF lpBuffers;
    ULONG dwBufferCount;
    WSABUF Control;
    ULONG dwFlags;
} WSAMSG, *PWSAMSG, *LPWSAMSG;

typedef struct _WSACMSGHDR {
    SIZE_T cmsg_len;
    INT cmsg_level;
    INT cmsg_type;
} WSACMSGHDR, *PWSACMSGHDR, *LPWSACMSGHDR, CMSGHDR, *PCMSGHDR;

/* Each header begins where a pointer may, and so does its data. */
#define GQOS_CMSG_ALIGN(length) (((SIZE_T)(length) + sizeof(void *) - 1) & ~(SIZE_T)(sizeof(void *) - 1))
#define WSA_CMSGHDR_ALIGN(length) GQOS_CMSG_ALIGN(length)
#define WSA_CMSGDATA_ALIGN(length) GQOS_CMSG_ALIGN(length)
#define WSA_CMSG_LEN(length) (GQOS_CMSG_ALIGN(sizeof(WSACMSGHDR)) + (length))
#define WSA_CMSG_SPACE(length) GQOS_CMSG_ALIGN(sizeof(WSACMSGHDR) + GQOS_CMSG_ALIGN(length))
#define WSA_CMSG_DATA(header) ((u_char *)(header) + GQOS_CMSG_ALIGN(sizeof(WSACMSGHDR)))
#define WSA_CMSG_FIRSTHDR(msg)                                                                                 \
    ((msg)->Control.len >= sizeof(WSACMSGHDR) ? (LPWSACMSGHDR)(void *)(msg)->Control.buf : (LPWSACMSGHDR)NULL)
#define WSA_CMSG_NXTHDR(msg, header)                                                                           \
    (!(header) ? WSA_CMSG_FIRSTHDR(msg)                                                                        \
     : (u_char *)(header) + GQOS_CMSG_ALIGN((header)->cmsg_len) + sizeof(WSACMSGHDR) >                         \
             (u_char *)(msg)->Control.buf + (msg)->Control.len                                                 \
         ? (LPWSACMSGHDR)NULL                                                                                  \
         : (LPWSACMSGHDR)(void *)((u_char *)(header) + GQOS_CMSG_ALIGN((header)->cmsg_len)))
#define CMSGHDR_ALIGN WSA_CMSGHDR_ALIGN
#define CMSGDATA_ALIGN WSA_CMSGDATA_ALIGN
#define CMSG_LEN WSA_CMSG_LEN
#define CMSG_SPACE WSA_CMSG_SPACE
#define CMSG_DATA WSA_CMSG_DATA
#define CMSG_FIRSTHDR WSA_CMSG_FIRSTHDR
#define CMSG_NXTHDR WSA_CMSG_NXTHDR

/* dwFlags of a received message. */
#define MSG_TRUNC 0x0100
#define MSG_CTRUNC 0x0200
#define MSG_BCAST 0x0400
#define MSG_MCAST 0x0800
#define MSG_ERRQUEUE 0x1000

#endif
