/* Functions of Winsock beyond those of winsock2.h's own list: messages, connections by name, duplicated sockets, and the
 * calls of Winsock 1.1 that version 2 has dropped. */
#ifndef GQOS_FUNCTIONS_H
#define GQOS_FUNCTIONS_H

extern int WSAAPI WSASendMsg(SOCKET s, LPWSAMSG lpMsg, DWORD dwFlags, LPDWORD lpNumberOfBytesSent,
                             LPWSAOVERLAPPED lpOverlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine)
    GQOS(WSASendMsg);
extern BOOL WSAAPI WSAConnectByNameA(SOCKET s, LPCSTR nodename, LPCSTR servicename, LPDWORD LocalAddressLength,
                                     LPSOCKADDR LocalAddress, LPDWORD RemoteAddressLength, LPSOCKADDR RemoteAddress,
                                     const struct timeval *timeout, LPWSAOVERLAPPED Reserved) GQOS(WSAConnectByNameA);
extern BOOL WSAAPI WSAConnectByNameW(SOCKET s, LPWSTR nodename, LPWSTR servicename, LPDWORD LocalAddressLength,
                                     LPSOCKADDR LocalAddress, LPDWORD RemoteAddressLength, LPSOCKADDR RemoteAddress,
                                     const struct timeval *timeout, LPWSAOVERLAPPED Reserved) GQOS(WSAConnectByNameW);
extern BOOL WSAAPI WSAConnectByList(SOCKET s, PSOCKET_ADDRESS_LIST SocketAddress, LPDWORD LocalAddressLength,
                                    LPSOCKADDR LocalAddress, LPDWORD RemoteAddressLength, LPSOCKADDR RemoteAddress,
                                    const struct timeval *timeout, LPWSAOVERLAPPED Reserved) GQOS(WSAConnectByList);
extern int WSAAPI WSADuplicateSocketA(SOCKET s, DWORD dwProcessId, LPWSAPROTOCOL_INFOA lpProtocolInfo)
    GQOS(WSADuplicateSocketA);
extern int WSAAPI WSADuplicateSocketW(SOCKET s, DWORD dwProcessId, LPWSAPROTOCOL_INFOW lpProtocolInfo)
    GQOS(WSADuplicateSocketW);

/* Notifications of sockets by completion ports, which are not there: the result is WSAEOPNOTSUPP. */
#define SOCK_NOTIFY_REGISTER_EVENT_NONE 0x00
#define SOCK_NOTIFY_REGISTER_EVENT_IN 0x01
#define SOCK_NOTIFY_REGISTER_EVENT_OUT 0x02
#define SOCK_NOTIFY_REGISTER_EVENT_HANGUP 0x04
#define SOCK_NOTIFY_REGISTER_EVENTS_ALL 0x07
#define SOCK_NOTIFY_EVENT_IN SOCK_NOTIFY_REGISTER_EVENT_IN
#define SOCK_NOTIFY_EVENT_OUT SOCK_NOTIFY_REGISTER_EVENT_OUT
#define SOCK_NOTIFY_EVENT_HANGUP SOCK_NOTIFY_REGISTER_EVENT_HANGUP
#define SOCK_NOTIFY_EVENT_ERR 0x40
#define SOCK_NOTIFY_EVENT_REMOVE 0x80
#define SOCK_NOTIFY_EVENTS_ALL 0xc7
#define SOCK_NOTIFY_OP_NONE 0x00
#define SOCK_NOTIFY_OP_ENABLE 0x01
#define SOCK_NOTIFY_OP_DISABLE 0x02
#define SOCK_NOTIFY_OP_REMOVE 0x04
#define SOCK_NOTIFY_TRIGGER_ONESHOT 0x01
#define SOCK_NOTIFY_TRIGGER_PERSISTENT 0x02
#define SOCK_NOTIFY_TRIGGER_LEVEL 0x04
#define SOCK_NOTIFY_TRIGGER_EDGE 0x08
#define SOCK_NOTIFY_TRIGGER_ALL 0x0f
typedef struct SOCK_NOTIFY_REGISTRATION {
    SOCKET socket;
    PVOID completionKey;
    UINT16 eventFilter;
    UINT8 operation;
    UINT8 triggerFlags;
    DWORD registrationResult;
} SOCK_NOTIFY_REGISTRATION;
typedef struct _OVERLAPPED_ENTRY {
    ULONG_PTR lpCompletionKey;
    LPOVERLAPPED lpOverlapped;
    ULONG_PTR Internal;
    DWORD dwNumberOfBytesTransferred;
} OVERLAPPED_ENTRY, *LPOVERLAPPED_ENTRY;
extern DWORD WSAAPI ProcessSocketNotifications(HANDLE port, UINT32 registrations, SOCK_NOTIFY_REGISTRATION *infos,
                                               UINT32 milliseconds, ULONG capacity, OVERLAPPED_ENTRY *entries,
                                               UINT32 *received) GQOS(ProcessSocketNotifications);
static __inline UINT32 SocketNotificationRetrieveEvents(OVERLAPPED_ENTRY *entry) {
    return entry->dwNumberOfBytesTransferred;
}

extern int WSAAPI GetHostNameW(PWSTR name, int namelen) GQOS(GetHostNameW);
extern BOOL WSAAPI WSAIsBlocking(void) GQOS(WSAIsBlocking);
extern int WSAAPI WSAUnhookBlockingHook(void) GQOS(WSAUnhookBlockingHook);
extern FARPROC WSAAPI WSASetBlockingHook(FARPROC lpBlockFunc) GQOS(WSASetBlockingHook);
extern HANDLE WSAAPI WSAAsyncGetServByName(HWND hWnd, u_int wMsg, const char *name, const char *proto, char *buf,
                                           int buflen) GQOS(WSAAsyncGetServByName);
extern HANDLE WSAAPI WSAAsyncGetServByPort(HWND hWnd, u_int wMsg, int port, const char *proto, char *buf, int buflen)
    GQOS(WSAAsyncGetServByPort);
extern HANDLE WSAAPI WSAAsyncGetProtoByName(HWND hWnd, u_int wMsg, const char *name, char *buf, int buflen)
    GQOS(WSAAsyncGetProtoByName);
extern HANDLE WSAAPI WSAAsyncGetProtoByNumber(HWND hWnd, u_int wMsg, int number, char *buf, int buflen)
    GQOS(WSAAsyncGetProtoByNumber);
extern HANDLE WSAAPI WSAAsyncGetHostByName(HWND hWnd, u_int wMsg, const char *name, char *buf, int buflen)
    GQOS(WSAAsyncGetHostByName);
extern HANDLE WSAAPI WSAAsyncGetHostByAddr(HWND hWnd, u_int wMsg, const char *addr, int len, int type, char *buf,
                                           int buflen) GQOS(WSAAsyncGetHostByAddr);
extern int WSAAPI WSACancelAsyncRequest(HANDLE hAsyncTaskHandle) GQOS(WSACancelAsyncRequest);
#define WSAMAKEASYNCREPLY(length, error) MAKELONG(length, error)
#define WSAGETASYNCBUFLEN(lParam) LOWORD(lParam)
#define WSAGETASYNCERROR(lParam) HIWORD(lParam)
#ifdef UNICODE
#define WSAConnectByName WSAConnectByNameW
#define WSADuplicateSocket WSADuplicateSocketW
#else
#define WSAConnectByName WSAConnectByNameA
#define WSADuplicateSocket WSADuplicateSocketA
#endif

static __inline uint64_t htonll(uint64_t value) { return __builtin_bswap64(value); }
static __inline uint64_t ntohll(uint64_t value) { return __builtin_bswap64(value); }
static __inline uint32_t htonf(float value) {
    union {
        float real;
        uint32_t bits;
    } number;
    number.real = value;
    return __builtin_bswap32(number.bits);
}
static __inline float ntohf(uint32_t value) {
    union {
        float real;
        uint32_t bits;
    } number;
    number.bits = __builtin_bswap32(value);
    return number.real;
}
static __inline uint64_t htond(double value) {
    union {
        double real;
        uint64_t bits;
    } number;
    number.real = value;
    return __builtin_bswap64(number.bits);
}
static __inline double ntohd(uint64_t value) {
    union {
        double real;
        uint64_t bits;
    } number;
    number.bits = __builtin_bswap64(value);
    return number.real;
}

#endif
