/* The service provider interface: WSPStartup, its table of procedures, and the table of up-calls. */
#ifndef _WINSOCK2SPI_
#define _WINSOCK2SPI_

#include "winsock2.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WSPDESCRIPTION_LEN 255
#define WSPAPI

typedef struct WSPData {
    WORD wVersion;
    WORD wHighVersion;
    WCHAR szDescription[WSPDESCRIPTION_LEN + 1];
} WSPDATA, *LPWSPDATA;

typedef struct _WSATHREADID {
    HANDLE ThreadHandle;
    DWORD_PTR Reserved;
} WSATHREADID, *LPWSATHREADID;

typedef SOCKET(WSPAPI *LPWSPACCEPT)(SOCKET s, struct sockaddr *addr, LPINT addrlen, LPCONDITIONPROC lpfnCondition,
                                    DWORD_PTR dwCallbackData, LPINT lpErrno);
typedef int(WSPAPI *LPWSPADDRESSTOSTRING)(struct sockaddr *lpsaAddress, DWORD dwAddressLength,
                                          LPWSAPROTOCOL_INFOW lpProtocolInfo, LPWSTR lpszAddressString,
                                          LPDWORD lpdwAddressStringLength, LPINT lpErrno);
typedef int(WSPAPI *LPWSPASYNCSELECT)(SOCKET s, HWND hWnd, UINT wMsg, int lEvent, LPINT lpErrno);
typedef int(WSPAPI *LPWSPBIND)(SOCKET s, const struct sockaddr *name, int namelen, LPINT lpErrno);
typedef int(WSPAPI *LPWSPCANCELBLOCKINGCALL)(LPINT lpErrno);
typedef int(WSPAPI *LPWSPCLEANUP)(LPINT lpErrno);
typedef int(WSPAPI *LPWSPCLOSESOCKET)(SOCKET s, LPINT lpErrno);
typedef int(WSPAPI *LPWSPCONNECT)(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                                  LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno);
typedef int(WSPAPI *LPWSPDUPLICATESOCKET)(SOCKET s, DWORD dwProcessId, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                                          LPINT lpErrno);
typedef int(WSPAPI *LPWSPENUMNETWORKEVENTS)(SOCKET s, WSAEVENT hEventObject, LPWSANETWORKEVENTS lpNetworkEvents,
                                            LPINT lpErrno);
typedef int(WSPAPI *LPWSPEVENTSELECT)(SOCKET s, WSAEVENT hEventObject, int lNetworkEvents, LPINT lpErrno);
typedef BOOL(WSPAPI *LPWSPGETOVERLAPPEDRESULT)(SOCKET s, LPWSAOVERLAPPED lpOverlapped, LPDWORD lpcbTransfer,
                                               BOOL fWait, LPDWORD lpdwFlags, LPINT lpErrno);
typedef int(WSPAPI *LPWSPGETPEERNAME)(SOCKET s, struct sockaddr *name, LPINT namelen, LPINT lpErrno);
typedef int(WSPAPI *LPWSPGETSOCKNAME)(SOCKET s, struct sockaddr *name, LPINT namelen, LPINT lpErrno);
typedef int(WSPAPI *LPWSPGETSOCKOPT)(SOCKET s, int level, int optname, char *optval, LPINT optlen, LPINT lpErrno);
typedef BOOL(WSPAPI *LPWSPGETQOSBYNAME)(SOCKET s, LPWSABUF lpQOSName, LPQOS lpQOS, LPINT lpErrno);
typedef int(WSPAPI *LPWSPIOCTL)(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
                                LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
                                LPWSAOVERLAPPED lpOverlapped,
                                LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                                LPINT lpErrno);
typedef SOCKET(WSPAPI *LPWSPJOINLEAF)(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                                      LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, DWORD dwFlags,
                                      LPINT lpErrno);
typedef int(WSPAPI *LPWSPLISTEN)(SOCKET s, int backlog, LPINT lpErrno);
typedef int(WSPAPI *LPWSPRECV)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
                               LPDWORD lpFlags, LPWSAOVERLAPPED lpOverlapped,
                               LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                               LPINT lpErrno);
typedef int(WSPAPI *LPWSPRECVDISCONNECT)(SOCKET s, LPWSABUF lpInboundDisconnectData, LPINT lpErrno);
typedef int(WSPAPI *LPWSPRECVFROM)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesRecvd,
                                   LPDWORD lpFlags, struct sockaddr *lpFrom, LPINT lpFromlen,
                                   LPWSAOVERLAPPED lpOverlapped,
                                   LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                                   LPINT lpErrno);
typedef int(WSPAPI *LPWSPSELECT)(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
                                 const struct timeval *timeout, LPINT lpErrno);
typedef int(WSPAPI *LPWSPSEND)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
                               DWORD dwFlags, LPWSAOVERLAPPED lpOverlapped,
                               LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                               LPINT lpErrno);
typedef int(WSPAPI *LPWSPSENDDISCONNECT)(SOCKET s, LPWSABUF lpOutboundDisconnectData, LPINT lpErrno);
typedef int(WSPAPI *LPWSPSENDTO)(SOCKET s, LPWSABUF lpBuffers, DWORD dwBufferCount, LPDWORD lpNumberOfBytesSent,
                                 DWORD dwFlags, const struct sockaddr *lpTo, int iTolen,
                                 LPWSAOVERLAPPED lpOverlapped,
                                 LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine, LPWSATHREADID lpThreadId,
                                 LPINT lpErrno);
typedef int(WSPAPI *LPWSPSETSOCKOPT)(SOCKET s, int level, int optname, const char *optval, int optlen,
                                     LPINT lpErrno);
typedef int(WSPAPI *LPWSPSHUTDOWN)(SOCKET s, int how, LPINT lpErrno);
typedef SOCKET(WSPAPI *LPWSPSOCKET)(int af, int type, int protocol, LPWSAPROTOCOL_INFOW lpProtocolInfo, GROUP g,
                                    DWORD dwFlags, LPINT lpErrno);
typedef int(WSPAPI *LPWSPSTRINGTOADDRESS)(LPWSTR AddressString, INT AddressFamily,
                                          LPWSAPROTOCOL_INFOW lpProtocolInfo, struct sockaddr *lpAddress,
                                          LPINT lpAddressLength, LPINT lpErrno);

typedef struct _WSPPROC_TABLE {
    LPWSPACCEPT lpWSPAccept;
    LPWSPADDRESSTOSTRING lpWSPAddressToString;
    LPWSPASYNCSELECT lpWSPAsyncSelect;
    LPWSPBIND lpWSPBind;
    LPWSPCANCELBLOCKINGCALL lpWSPCancelBlockingCall;
    LPWSPCLEANUP lpWSPCleanup;
    LPWSPCLOSESOCKET lpWSPCloseSocket;
    LPWSPCONNECT lpWSPConnect;
    LPWSPDUPLICATESOCKET lpWSPDuplicateSocket;
    LPWSPENUMNETWORKEVENTS lpWSPEnumNetworkEvents;
    LPWSPEVENTSELECT lpWSPEventSelect;
    LPWSPGETOVERLAPPEDRESULT lpWSPGetOverlappedResult;
    LPWSPGETPEERNAME lpWSPGetPeerName;
    LPWSPGETSOCKNAME lpWSPGetSockName;
    LPWSPGETSOCKOPT lpWSPGetSockOpt;
    LPWSPGETQOSBYNAME lpWSPGetQOSByName;
    LPWSPIOCTL lpWSPIoctl;
    LPWSPJOINLEAF lpWSPJoinLeaf;
    LPWSPLISTEN lpWSPListen;
    LPWSPRECV lpWSPRecv;
    LPWSPRECVDISCONNECT lpWSPRecvDisconnect;
    LPWSPRECVFROM lpWSPRecvFrom;
    LPWSPSELECT lpWSPSelect;
    LPWSPSEND lpWSPSend;
    LPWSPSENDDISCONNECT lpWSPSendDisconnect;
    LPWSPSENDTO lpWSPSendTo;
    LPWSPSETSOCKOPT lpWSPSetSockOpt;
    LPWSPSHUTDOWN lpWSPShutdown;
    LPWSPSOCKET lpWSPSocket;
    LPWSPSTRINGTOADDRESS lpWSPStringToAddress;
} WSPPROC_TABLE, *LPWSPPROC_TABLE;

/* What a layered provider calls upwards. */
typedef BOOL(CALLBACK *LPBLOCKINGCALLBACK)(DWORD_PTR dwContext);
typedef void(CALLBACK *LPWSAUSERAPC)(DWORD_PTR dwContext);
typedef BOOL(WSPAPI *LPWPUCLOSEEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef int(WSPAPI *LPWPUCLOSESOCKETHANDLE)(SOCKET s, LPINT lpErrno);
typedef WSAEVENT(WSPAPI *LPWPUCREATEEVENT)(LPINT lpErrno);
typedef SOCKET(WSPAPI *LPWPUCREATESOCKETHANDLE)(DWORD dwCatalogEntryId, DWORD_PTR dwContext, LPINT lpErrno);
typedef int(WSPAPI *LPWPUFDISSET)(SOCKET s, fd_set *fdset);
typedef int(WSPAPI *LPWPUGETPROVIDERPATH)(LPGUID lpProviderId, WCHAR *lpszProviderDllPath,
                                          LPINT lpProviderDllPathLen, LPINT lpErrno);
typedef SOCKET(WSPAPI *LPWPUMODIFYIFSHANDLE)(DWORD dwCatalogEntryId, SOCKET ProposedHandle, LPINT lpErrno);
typedef BOOL(WSPAPI *LPWPUPOSTMESSAGE)(HWND hWnd, UINT Msg, WPARAM wParam, LPARAM lParam);
typedef int(WSPAPI *LPWPUQUERYBLOCKINGCALLBACK)(DWORD dwCatalogEntryId, LPBLOCKINGCALLBACK *lplpfnCallback,
                                                PDWORD_PTR lpdwContext, LPINT lpErrno);
typedef int(WSPAPI *LPWPUQUERYSOCKETHANDLECONTEXT)(SOCKET s, PDWORD_PTR lpContext, LPINT lpErrno);
typedef int(WSPAPI *LPWPUQUEUEAPC)(LPWSATHREADID lpThreadId, LPWSAUSERAPC lpfnUserApc, DWORD_PTR dwContext,
                                   LPINT lpErrno);
typedef BOOL(WSPAPI *LPWPURESETEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef BOOL(WSPAPI *LPWPUSETEVENT)(WSAEVENT hEvent, LPINT lpErrno);
typedef int(WSPAPI *LPWPUOPENCURRENTTHREAD)(LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int(WSPAPI *LPWPUCLOSETHREAD)(LPWSATHREADID lpThreadId, LPINT lpErrno);
typedef int(WSPAPI *LPWPUCOMPLETEOVERLAPPEDREQUEST)(SOCKET s, LPWSAOVERLAPPED lpOverlapped, DWORD dwError,
                                                    DWORD cbTransferred, LPINT lpErrno);

typedef struct _WSPUPCALLTABLE {
    LPWPUCLOSEEVENT lpWPUCloseEvent;
    LPWPUCLOSESOCKETHANDLE lpWPUCloseSocketHandle;
    LPWPUCREATEEVENT lpWPUCreateEvent;
    LPWPUCREATESOCKETHANDLE lpWPUCreateSocketHandle;
    LPWPUFDISSET lpWPUFDIsSet;
    LPWPUGETPROVIDERPATH lpWPUGetProviderPath;
    LPWPUMODIFYIFSHANDLE lpWPUModifyIFSHandle;
    LPWPUPOSTMESSAGE lpWPUPostMessage;
    LPWPUQUERYBLOCKINGCALLBACK lpWPUQueryBlockingCallback;
    LPWPUQUERYSOCKETHANDLECONTEXT lpWPUQuerySocketHandleContext;
    LPWPUQUEUEAPC lpWPUQueueApc;
    LPWPURESETEVENT lpWPUResetEvent;
    LPWPUSETEVENT lpWPUSetEvent;
    LPWPUOPENCURRENTTHREAD lpWPUOpenCurrentThread;
    LPWPUCLOSETHREAD lpWPUCloseThread;
} WSPUPCALLTABLE, *LPWSPUPCALLTABLE;

typedef int(WSPAPI *LPWSPSTARTUP)(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                                  WSPUPCALLTABLE UpcallTable, LPWSPPROC_TABLE lpProcTable);

/* The catalogue of providers. It is fixed: functions that change it fail with WSAEOPNOTSUPP. */
#define WSS_OPERATION_IN_PROGRESS 0x00000103
#define LSP_SYSTEM 0x80000000
#define LSP_INSPECTOR 0x00000001
#define LSP_REDIRECTOR 0x00000002
#define LSP_PROXY 0x00000004
#define LSP_FIREWALL 0x00000008
#define LSP_INBOUND_MODIFY 0x00000010
#define LSP_OUTBOUND_MODIFY 0x00000020
#define LSP_CRYPTO_COMPRESS 0x00000040
#define LSP_LOCAL_CACHE 0x00000080

typedef enum _WSC_PROVIDER_INFO_TYPE {
    ProviderInfoLspCategories,
    ProviderInfoAudit
} WSC_PROVIDER_INFO_TYPE;

typedef struct _WSC_PROVIDER_AUDIT_INFO {
    DWORD RecordSize;
    PVOID Reserved;
} WSC_PROVIDER_AUDIT_INFO, *PWSC_PROVIDER_AUDIT_INFO;

extern int WSPAPI WSCEnumProtocols(LPINT lpiProtocols, LPWSAPROTOCOL_INFOW lpProtocolBuffer, LPDWORD lpdwBufferLength,
                                   LPINT lpErrno) GQOS(WSCEnumProtocols);
extern int WSPAPI WSCGetProviderPath(LPGUID lpProviderId, WCHAR *lpszProviderDllPath, LPINT lpProviderDllPathLen,
                                     LPINT lpErrno) GQOS(WSCGetProviderPath);
extern int WSPAPI WSCInstallProvider(LPGUID lpProviderId, const WCHAR *lpszProviderDllPath,
                                     const WSAPROTOCOL_INFOW *lpProtocolInfoList, DWORD dwNumberOfEntries,
                                     LPINT lpErrno) GQOS(WSCInstallProvider);
extern int WSPAPI WSCUpdateProvider(LPGUID lpProviderId, const WCHAR *lpszProviderDllPath,
                                    const WSAPROTOCOL_INFOW *lpProtocolInfoList, DWORD dwNumberOfEntries,
                                    LPINT lpErrno) GQOS(WSCUpdateProvider);
extern int WSPAPI WSCInstallProviderAndChains(LPGUID lpProviderId, const WCHAR *lpszProviderDllPath,
                                              const WCHAR *lpszLspName, DWORD dwServiceFlags,
                                              const WSAPROTOCOL_INFOW *lpProtocolInfoList, DWORD dwNumberOfEntries,
                                              LPDWORD lpdwCatalogEntryId, LPINT lpErrno)
    GQOS(WSCInstallProviderAndChains);
extern int WSPAPI WSCDeinstallProvider(LPGUID lpProviderId, LPINT lpErrno) GQOS(WSCDeinstallProvider);
extern int WSPAPI WSCWriteProviderOrder(LPDWORD lpwdCatalogEntryId, DWORD dwNumberOfEntries)
    GQOS(WSCWriteProviderOrder);
extern int WSPAPI WSCGetProviderInfo(LPGUID lpProviderId, WSC_PROVIDER_INFO_TYPE InfoType, PBYTE Info,
                                     size_t *InfoSize, DWORD Flags, LPINT lpErrno) GQOS(WSCGetProviderInfo);
extern int WSPAPI WSCSetProviderInfo(LPGUID lpProviderId, WSC_PROVIDER_INFO_TYPE InfoType, PBYTE Info,
                                     size_t InfoSize, DWORD Flags, LPINT lpErrno) GQOS(WSCSetProviderInfo);
extern int WSPAPI WSCGetApplicationCategory(LPCWSTR Path, DWORD PathLength, LPCWSTR Extra, DWORD ExtraLength,
                                            DWORD *pPermittedLspCategories, LPINT lpErrno)
    GQOS(WSCGetApplicationCategory);
extern int WSPAPI WSCSetApplicationCategory(LPCWSTR Path, DWORD PathLength, LPCWSTR Extra, DWORD ExtraLength,
                                            DWORD PermittedLspCategories, DWORD *pPrevPermLspCat, LPINT lpErrno)
    GQOS(WSCSetApplicationCategory);
extern INT WSPAPI WSCInstallNameSpace(LPWSTR lpszIdentifier, LPWSTR lpszPathName, DWORD dwNameSpace,
                                      DWORD dwVersion, LPGUID lpProviderId) GQOS(WSCInstallNameSpace);
extern INT WSPAPI WSCInstallNameSpaceEx(LPWSTR lpszIdentifier, LPWSTR lpszPathName, DWORD dwNameSpace,
                                        DWORD dwVersion, LPGUID lpProviderId, LPBLOB lpProviderSpecific)
    GQOS(WSCInstallNameSpaceEx);
extern INT WSPAPI WSCUnInstallNameSpace(LPGUID lpProviderId) GQOS(WSCUnInstallNameSpace);
extern INT WSPAPI WSCEnableNSProvider(LPGUID lpProviderId, BOOL fEnable) GQOS(WSCEnableNSProvider);
extern INT WSPAPI WSCWriteNameSpaceOrder(LPGUID lpProviderId, DWORD dwNumberOfEntries) GQOS(WSCWriteNameSpaceOrder);
extern BOOL WSPAPI WSCInstallQOSTemplate(const LPGUID lpProviderId, LPWSABUF lpTemplateName, LPQOS lpQos)
    GQOS(WSCInstallQOSTemplate);
extern BOOL WSPAPI WSCRemoveQOSTemplate(const LPGUID lpProviderId, LPWSABUF lpTemplateName)
    GQOS(WSCRemoveQOSTemplate);
extern BOOL WSPAPI WPUGetQOSTemplate(const LPGUID lpProviderId, LPWSABUF lpTemplateName, LPQOS lpQos)
    GQOS(WPUGetQOSTemplate);
#define WSCEnumNameSpaceProviders WSAEnumNameSpaceProvidersW
#define WSCEnumNameSpaceProvidersEx WSAEnumNameSpaceProvidersExW
/* The catalogue of 32-bit programs is the same. */
#define WSCEnumProtocols32 WSCEnumProtocols
#define WSCGetProviderPath32 WSCGetProviderPath
#define WSCInstallProvider64_32 WSCInstallProvider
#define WSCUpdateProvider32 WSCUpdateProvider
#define WSCDeinstallProvider32 WSCDeinstallProvider
#define WSCWriteProviderOrder32 WSCWriteProviderOrder
#define WSCGetProviderInfo32 WSCGetProviderInfo
#define WSCSetProviderInfo32 WSCSetProviderInfo
#define WSCEnumNameSpaceProviders32 WSCEnumNameSpaceProviders
#define WSCEnumNameSpaceProvidersEx32 WSCEnumNameSpaceProvidersEx
#define WSCInstallNameSpace32 WSCInstallNameSpace
#define WSCInstallNameSpaceEx32 WSCInstallNameSpaceEx
#define WSCUnInstallNameSpace32 WSCUnInstallNameSpace
#define WSCEnableNSProvider32 WSCEnableNSProvider
#define WSCWriteNameSpaceOrder32 WSCWriteNameSpaceOrder
#define WSCInstallProviderAndChains64_32 WSCInstallProviderAndChains

GQOS_POINTER(LPWSCENUMPROTOCOLS, WSCEnumProtocols);
GQOS_POINTER(LPWSCGETPROVIDERPATH, WSCGetProviderPath);
GQOS_POINTER(LPWSCINSTALLPROVIDER, WSCInstallProvider);
GQOS_POINTER(LPWSCUPDATEPROVIDER, WSCUpdateProvider);
GQOS_POINTER(LPWSCDEINSTALLPROVIDER, WSCDeinstallProvider);
GQOS_POINTER(LPWSCWRITEPROVIDERORDER, WSCWriteProviderOrder);
GQOS_POINTER(LPWSCINSTALLQOSTEMPLATE, WSCInstallQOSTemplate);
GQOS_POINTER(LPWSCREMOVEQOSTEMPLATE, WSCRemoveQOSTemplate);
GQOS_POINTER(LPWSCINSTALLNAMESPACE, WSCInstallNameSpace);
GQOS_POINTER(LPWSCUNINSTALLNAMESPACE, WSCUnInstallNameSpace);
GQOS_POINTER(LPWSCENABLENSPROVIDER, WSCEnableNSProvider);
GQOS_POINTER(LPWSCWRITENAMESPACEORDER, WSCWriteNameSpaceOrder);
#define LPFN_WSCENUMNAMESPACEPROVIDERS LPFN_WSAENUMNAMESPACEPROVIDERSW
#define LPFN_WSCENUMNAMESPACEPROVIDERSEX LPFN_WSAENUMNAMESPACEPROVIDERSEXW

/* The up-calls as functions. */
extern BOOL WSPAPI WPUCloseEvent(WSAEVENT hEvent, LPINT lpErrno) GQOS(WPUCloseEvent);
extern int WSPAPI WPUCloseSocketHandle(SOCKET s, LPINT lpErrno) GQOS(WPUCloseSocketHandle);
extern WSAEVENT WSPAPI WPUCreateEvent(LPINT lpErrno) GQOS(WPUCreateEvent);
extern SOCKET WSPAPI WPUCreateSocketHandle(DWORD dwCatalogEntryId, DWORD_PTR dwContext, LPINT lpErrno)
    GQOS(WPUCreateSocketHandle);
extern int WSPAPI WPUFDIsSet(SOCKET s, fd_set *fdset) __asm__("gqos_WSAFDIsSet");
extern int WSPAPI WPUGetProviderPath(LPGUID lpProviderId, WCHAR *lpszProviderDllPath, LPINT lpProviderDllPathLen,
                                     LPINT lpErrno) GQOS(WSCGetProviderPath);
extern SOCKET WSPAPI WPUModifyIFSHandle(DWORD dwCatalogEntryId, SOCKET ProposedHandle, LPINT lpErrno)
    GQOS(WPUModifyIFSHandle);
extern BOOL WSPAPI WPUPostMessage(HWND hWnd, UINT Msg, WPARAM wParam, LPARAM lParam) GQOS(WPUPostMessage);
extern int WSPAPI WPUQueryBlockingCallback(DWORD dwCatalogEntryId, LPBLOCKINGCALLBACK *lplpfnCallback,
                                           PDWORD_PTR lpdwContext, LPINT lpErrno) GQOS(WPUQueryBlockingCallback);
extern int WSPAPI WPUQuerySocketHandleContext(SOCKET s, PDWORD_PTR lpContext, LPINT lpErrno)
    GQOS(WPUQuerySocketHandleContext);
extern int WSPAPI WPUQueueApc(LPWSATHREADID lpThreadId, LPWSAUSERAPC lpfnUserApc, DWORD_PTR dwContext,
                              LPINT lpErrno) GQOS(WPUQueueApc);
extern BOOL WSPAPI WPUResetEvent(WSAEVENT hEvent, LPINT lpErrno) GQOS(WPUResetEvent);
extern BOOL WSPAPI WPUSetEvent(WSAEVENT hEvent, LPINT lpErrno) GQOS(WPUSetEvent);
extern int WSPAPI WPUOpenCurrentThread(LPWSATHREADID lpThreadId, LPINT lpErrno) GQOS(WPUOpenCurrentThread);
extern int WSPAPI WPUCloseThread(LPWSATHREADID lpThreadId, LPINT lpErrno) GQOS(WPUCloseThread);
extern int WSPAPI WPUCompleteOverlappedRequest(SOCKET s, LPWSAOVERLAPPED lpOverlapped, DWORD dwError,
                                               DWORD cbTransferred, LPINT lpErrno) GQOS(WPUCompleteOverlappedRequest);

/* What a provider of a name space implements. */
typedef struct _NSP_ROUTINE *LPNSP_ROUTINE;
typedef INT(WSAAPI *LPNSPCLEANUP)(LPGUID provider);
typedef INT(WSAAPI *LPNSPLOOKUPSERVICEBEGIN)(LPGUID provider, LPWSAQUERYSETW restrictions,
                                             LPWSASERVICECLASSINFOW info, DWORD flags, LPHANDLE lookup);
typedef INT(WSAAPI *LPNSPLOOKUPSERVICENEXT)(HANDLE lookup, DWORD flags, LPDWORD length, LPWSAQUERYSETW results);
typedef INT(WSAAPI *LPNSPLOOKUPSERVICEEND)(HANDLE lookup);
typedef INT(WSAAPI *LPNSPIOCTL)(HANDLE lookup, DWORD code, LPVOID in, DWORD in_size, LPVOID out, DWORD out_size,
                                LPDWORD returned, LPWSACOMPLETION completion, LPWSATHREADID thread);
typedef INT(WSAAPI *LPNSPSETSERVICE)(LPGUID provider, LPWSASERVICECLASSINFOW info, LPWSAQUERYSETW registration,
                                     WSAESETSERVICEOP operation, DWORD flags);
typedef INT(WSAAPI *LPNSPINSTALLSERVICECLASS)(LPGUID provider, LPWSASERVICECLASSINFOW info);
typedef INT(WSAAPI *LPNSPREMOVESERVICECLASS)(LPGUID provider, LPGUID class_id);
typedef INT(WSAAPI *LPNSPGETSERVICECLASSINFO)(LPGUID provider, LPDWORD size, LPWSASERVICECLASSINFOW info);
typedef INT(WSAAPI *LPNSPSTARTUP)(LPGUID provider, LPNSP_ROUTINE routines);

typedef struct _NSP_ROUTINE {
    DWORD cbSize;
    DWORD dwMajorVersion;
    DWORD dwMinorVersion;
    LPNSPCLEANUP NSPCleanup;
    LPNSPLOOKUPSERVICEBEGIN NSPLookupServiceBegin;
    LPNSPLOOKUPSERVICENEXT NSPLookupServiceNext;
    LPNSPLOOKUPSERVICEEND NSPLookupServiceEnd;
    LPNSPSETSERVICE NSPSetService;
    LPNSPINSTALLSERVICECLASS NSPInstallServiceClass;
    LPNSPREMOVESERVICECLASS NSPRemoveServiceClass;
    LPNSPGETSERVICECLASSINFO NSPGetServiceClassInfo;
    LPNSPIOCTL NSPIoctl;
} NSP_ROUTINE;
/* A provider of a name space defines it. */
extern INT WSAAPI NSPStartup(LPGUID provider, LPNSP_ROUTINE routines);

typedef int(WSAAPI *LPNSPV2STARTUP)(LPGUID provider, LPVOID *session);
typedef int(WSAAPI *LPNSPV2CLEANUP)(LPGUID provider, LPVOID session);
typedef int(WSAAPI *LPNSPV2LOOKUPSERVICEBEGIN)(LPGUID provider, LPWSAQUERYSET2W restrictions, DWORD flags,
                                               LPVOID session, LPHANDLE lookup);
typedef int(WSAAPI *LPNSPV2LOOKUPSERVICENEXTEX)(HANDLE call, HANDLE lookup, DWORD flags, LPDWORD length,
                                                LPWSAQUERYSET2W results);
typedef int(WSAAPI *LPNSPV2LOOKUPSERVICEEND)(HANDLE lookup);
typedef int(WSAAPI *LPNSPV2SETSERVICEEX)(HANDLE call, LPGUID provider, LPWSAQUERYSET2W registration,
                                         WSAESETSERVICEOP operation, DWORD flags, LPVOID session);
typedef int(WSAAPI *LPNSPV2CLIENTSESSIONRUNDOWN)(LPGUID provider, LPVOID session);

typedef struct _NSPV2_ROUTINE {
    DWORD cbSize;
    DWORD dwMajorVersion;
    DWORD dwMinorVersion;
    LPNSPV2STARTUP NSPv2Startup;
    LPNSPV2CLEANUP NSPv2Cleanup;
    LPNSPV2LOOKUPSERVICEBEGIN NSPv2LookupServiceBegin;
    LPNSPV2LOOKUPSERVICENEXTEX NSPv2LookupServiceNextEx;
    LPNSPV2LOOKUPSERVICEEND NSPv2LookupServiceEnd;
    LPNSPV2SETSERVICEEX NSPv2SetServiceEx;
    LPNSPV2CLIENTSESSIONRUNDOWN NSPv2ClientSessionRundown;
} NSPV2_ROUTINE, *PNSPV2_ROUTINE;
typedef const NSPV2_ROUTINE *LPCNSPV2_ROUTINE;

extern INT WSAAPI WSAAdvertiseProvider(const GUID *provider, LPCNSPV2_ROUTINE routines) GQOS(WSAAdvertiseProvider);
extern INT WSAAPI WSAUnadvertiseProvider(const GUID *provider) GQOS(WSAUnadvertiseProvider);
extern INT WSAAPI WSAProviderCompleteAsyncCall(HANDLE call, INT code) GQOS(WSAProviderCompleteAsyncCall);

/* The provider's own two, under names that no other provider has. The up-call table is not read. */
extern int gqos_WSPStartup(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                           LPWSPPROC_TABLE lpProcTable);
extern int gqos_WSPConnect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                           LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno);

/* WSPStartup and WSPConnect are the provider's, unless the program defines functions of these names, as a layered
 * provider does. These are inline definitions that another definition replaces, and no symbols of the object file;
 * clang in C++ does not let them be replaced, and has declarations of the library's functions instead. GQOS_NO_SPI_NAMES
 * leaves them out, for a program whose own are static. */
#if defined(GQOS_NO_SPI_NAMES)
#elif defined(__cplusplus) && defined(__clang__)
extern int WSPAPI WSPStartup(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                             WSPUPCALLTABLE UpcallTable, LPWSPPROC_TABLE lpProcTable);
extern int WSPAPI WSPConnect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                             LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno);
#else
#define GQOS_REPLACEABLE extern __inline __attribute__((__gnu_inline__, __always_inline__))
GQOS_REPLACEABLE int WSPAPI WSPStartup(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                                       WSPUPCALLTABLE UpcallTable, LPWSPPROC_TABLE lpProcTable) {
    (void)UpcallTable;
    return gqos_WSPStartup(wVersionRequested, lpWSPData, lpProtocolInfo, lpProcTable);
}
GQOS_REPLACEABLE int WSPAPI WSPConnect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
                                       LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno) {
    return gqos_WSPConnect(s, name, namelen, lpCallerData, lpCalleeData, lpSQOS, lpGQOS, lpErrno);
}
#undef GQOS_REPLACEABLE
#endif

#ifdef __cplusplus
}
#endif

#endif
