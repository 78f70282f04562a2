//! Functions without a meaning on Linux: name spaces, service classes, changes of the catalogue, security by IPsec, and
//! what Winsock 2 has dropped.
//!
//! A function that sets the thread's error takes no parameters here: the C calling convention lets a caller pass more
//! than a function takes.

use flowspec::Wsa;

use super::{Address, NULL, SOCKET_ERROR};

/// Functions of the API that fail with WSAEOPNOTSUPP.
macro_rules! unsupported {
    ($($result:ty, $failure:expr => $($name:ident)*;)*) => {
        $($(c_functions! {
            /// Is not supported: fails with WSAEOPNOTSUPP.
            api $name() -> $result, or $failure => Err(Wsa::Eopnotsupp);
        })*)*
    };
}

unsupported! {
    i32, SOCKET_ERROR =>
        gqos_WSALookupServiceBeginA gqos_WSALookupServiceBeginW gqos_WSALookupServiceNextA
        gqos_WSALookupServiceNextW gqos_WSALookupServiceEnd gqos_WSANSPIoctl gqos_WSAInstallServiceClassA
        gqos_WSAInstallServiceClassW gqos_WSARemoveServiceClass gqos_WSAGetServiceClassInfoA
        gqos_WSAGetServiceClassInfoW gqos_WSAGetServiceClassNameByClassIdA gqos_WSAGetServiceClassNameByClassIdW
        gqos_WSAEnumNameSpaceProvidersA gqos_WSAEnumNameSpaceProvidersW gqos_WSAEnumNameSpaceProvidersExA
        gqos_WSAEnumNameSpaceProvidersExW gqos_WSASetServiceA gqos_WSASetServiceW gqos_WSAProviderConfigChange
        gqos_WSAUnhookBlockingHook gqos_WSACancelAsyncRequest gqos_WSASetSocketSecurity
        gqos_WSAQuerySocketSecurity gqos_WSASetSocketPeerTargetName gqos_WSADeleteSocketPeerTargetName
        gqos_WSAImpersonateSocketPeer gqos_WSARevertImpersonation gqos_WSAAdvertiseProvider
        gqos_WSAUnadvertiseProvider gqos_WSAProviderCompleteAsyncCall gqos_WSCInstallNameSpace
        gqos_WSCInstallNameSpaceEx gqos_WSCUnInstallNameSpace gqos_WSCEnableNSProvider;
    usize, NULL =>
        gqos_WSASetBlockingHook gqos_WSAAsyncGetServByName gqos_WSAAsyncGetServByPort gqos_WSAAsyncGetProtoByName
        gqos_WSAAsyncGetProtoByNumber gqos_WSAAsyncGetHostByName gqos_WSAAsyncGetHostByAddr;
    i32, 0 =>
        gqos_WSCInstallQOSTemplate gqos_WSCRemoveQOSTemplate gqos_WPUGetQOSTemplate;
}

/// Functions of the same kind whose result is the error.
macro_rules! unsupported_results {
    ($($name:ident)*) => {
        $(c_functions! {
            /// Is not supported: the result is WSAEOPNOTSUPP.
            code $name() => Err(Wsa::Eopnotsupp);
        })*
    };
}

unsupported_results! {
    gqos_SetAddrInfoExA gqos_SetAddrInfoExW gqos_GetAddrInfoExCancel gqos_GetAddrInfoExOverlappedResult
    gqos_WSCWriteProviderOrder gqos_WSCWriteNameSpaceOrder gqos_ProcessSocketNotifications
}

/// WSAIsBlocking: no call of the thread blocks, since it is in this one.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAIsBlocking() -> i32 {
    0
}

c_functions! {
    /// WSCInstallProvider, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCInstallProvider(_id: Address, _path: Address, _infos: Address, _count: u32)
        -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCUpdateProvider, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCUpdateProvider(_id: Address, _path: Address, _infos: Address, _count: u32)
        -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCInstallProviderAndChains, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCInstallProviderAndChains(
        _id: Address, _path: Address, _name: Address, _flags: u32, _infos: Address, _count: u32, _entry: Address,
    ) -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCDeinstallProvider, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCDeinstallProvider(_id: Address) -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCGetProviderInfo, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCGetProviderInfo(_id: Address, _kind: i32, _info: Address, _size: Address, _flags: u32)
        -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCSetProviderInfo, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCSetProviderInfo(_id: Address, _kind: i32, _info: Address, _size: usize, _flags: u32)
        -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCGetApplicationCategory, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCGetApplicationCategory(
        _path: Address, _path_length: u32, _extra: Address, _extra_length: u32, _permitted: Address,
    ) -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WSCSetApplicationCategory, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WSCSetApplicationCategory(
        _path: Address, _path_length: u32, _extra: Address, _extra_length: u32, _permitted: u32, _before: Address,
    ) -> i32, or SOCKET_ERROR => Err(Wsa::Eopnotsupp);
    /// WPUQueueApc, which is not supported: WSAEOPNOTSUPP.
    spi gqos_WPUQueueApc(_thread: Address, _routine: usize, _context: usize) -> i32, or SOCKET_ERROR
        => Err(Wsa::Eopnotsupp);
}
