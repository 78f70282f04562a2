/* Texts that are char or WCHAR, as UNICODE says. */
#ifndef GQOS_TCHAR_H
#define GQOS_TCHAR_H

#include "winsock2.h"

typedef TCHAR _TCHAR;
#define _T(literal) TEXT(literal)
#define _TEXT(literal) TEXT(literal)
#ifndef UNICODE
#define _tmain main
#define _tprintf printf
#define _ftprintf fprintf
#define _stprintf sprintf
#define _tcscpy strcpy
#define _tcscat strcat
#define _tcscmp strcmp
#define _tcsicmp strcasecmp
#define _tcslen strlen
#define _tcschr strchr
#define _tcsstr strstr
#define _ttoi atoi
#define _tstoi atoi
#define _tfopen fopen
#endif

#endif
