/* The data of the name space NS_EMAIL, which is not installed. */
#ifndef _NSEMAIL_H_
#define _NSEMAIL_H_

#include "winsock2.h"

typedef enum napi_provider_type_tag { ProviderType_Application = 1, ProviderType_Service = 2 } NAPI_PROVIDER_TYPE;
typedef enum napi_provider_level_tag {
    ProviderLevel_None = 0,
    ProviderLevel_Secondary = 1,
    ProviderLevel_Primary = 2
} NAPI_PROVIDER_LEVEL;

typedef struct napi_domain_description_blob_tag {
    DWORD AuthLevel;
    DWORD cchDomainName;
    DWORD OffsetNextDomainDescription;
    DWORD OffsetThisDomainName;
} NAPI_DOMAIN_DESCRIPTION_BLOB;

typedef struct napi_provider_installation_blob_tag {
    DWORD dwVersion;
    DWORD dwProviderType;
    DWORD fSupportsWildCard;
    ULONG cDomains;
    ULONG OffsetFirstDomain;
} NAPI_PROVIDER_INSTALLATION_BLOB;

#endif
