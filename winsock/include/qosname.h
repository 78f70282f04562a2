/* Names of QOS templates, and of the functions that install them. */
#ifndef __QOSNAME_H_
#define __QOSNAME_H_

#include "winsock2.h"

#define QT_1 "G711"
#define QT_2 "G723.1"
#define QT_3 "G729"
#define QT_4 "H263QCIF"
#define QT_5 "H263CIF"
#define QT_6 "H261QCIF"
#define QT_7 "H261CIF"
#define QT_8 "GSM6.10"

#define WSCINSTALL_QOS_TEMPLATE "WSCInstallQOSTemplate"
#define WSCREMOVE_QOS_TEMPLATE "WSCRemoveQOSTemplate"
#define WPUGET_QOS_TEMPLATE "WPUGetQOSTemplate"

typedef BOOL(WINAPI *WSC_INSTALL_QOS_TEMPLATE)(const LPGUID Guid, LPWSABUF QosName, LPQOS Qos);
typedef BOOL(WINAPI *WSC_REMOVE_QOS_TEMPLATE)(const LPGUID Guid, LPWSABUF QosName);
typedef BOOL(WINAPI *WPU_GET_QOS_TEMPLATE)(const LPGUID Guid, LPWSABUF QosName, LPQOS Qos);

#endif
