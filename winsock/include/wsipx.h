/* Addresses of IPX, which no socket of the library has. */
#ifndef _WSIPX_
#define _WSIPX_

#include "winsock2.h"

typedef struct sockaddr_ipx {
    SHORT sa_family;
    CHAR sa_netnum[4];
    CHAR sa_nodenum[6];
    USHORT sa_socket;
} SOCKADDR_IPX, *PSOCKADDR_IPX, *LPSOCKADDR_IPX;

#endif
