/* Types and annotations of the Windows API beyond those that winsock2.h itself needs. */
#ifndef GQOS_TYPES_H
#define GQOS_TYPES_H

/* The C library declares these unless the program asks for standard C alone. */
#ifndef __u_char_defined
typedef unsigned char u_char;
typedef unsigned short u_short;
typedef unsigned int u_int;
#define __u_char_defined
#endif
typedef uint64_t u_int64;

#define __int64 long long
#define _int64 long long
#define __cdecl
#define _cdecl
#define __stdcall
#define __fastcall
#define __declspec(attribute)
#define DECLSPEC_IMPORT
#define WINAPIV
#define WINBASEAPI
#define WINSOCK_API_LINKAGE
#define UNREFERENCED_PARAMETER(parameter) ((void)(parameter))
#ifndef _In_
#define _In_
#define _In_opt_
#define _In_z_
#define _In_reads_(size)
#define _In_reads_opt_(size)
#define _In_reads_bytes_(size)
#define _In_reads_bytes_opt_(size)
#define _Inout_
#define _Inout_opt_
#define _Out_
#define _Out_opt_
#define _Out_writes_(size)
#define _Out_writes_opt_(size)
#define _Out_writes_bytes_(size)
#define _Out_writes_bytes_opt_(size)
#define _Outptr_
#define _Must_inspect_result_
#define _Reserved_
#define _Success_(expression)
#define _Ret_maybenull_
#endif

#define __in_opt
#define __out_opt
#define __inout
#define __inout_opt
#define __in_z
#define __in_ecount(size)
#define __in_ecount_opt(size)
#define __in_bcount(size)
#define __in_bcount_opt(size)
#define __out_ecount(size)
#define __out_ecount_opt(size)
#define __out_bcount(size)
#define __out_bcount_opt(size)
#define __out_ecount_part(size, length)
#define __out_bcount_part(size, length)
#define __inout_ecount(size)
#define __inout_bcount(size)
#define __deref_out
#define __deref_out_ecount(size)
#define __checkReturn
#ifndef __cplusplus
/* C++'s own headers use these as names. */
#define __in
#define __out
#endif
#define _TRUNCATE ((size_t)-1)

typedef unsigned char BOOLEAN, *PBOOLEAN;
typedef char CCHAR;
typedef float FLOAT;
typedef int8_t INT8;
typedef int16_t INT16;
typedef int32_t INT32, LONG32;
typedef int64_t INT64, LONG64, *PLONGLONG;
typedef uint8_t UINT8;
typedef uint16_t UINT16;
typedef uint32_t UINT32, *PUINT32, ULONG32, DWORD32;
typedef uint64_t UINT64, *PUINT64, ULONG64, DWORDLONG, *PULONGLONG, *PULONG64;
typedef short *PSHORT;
typedef HANDLE *PHANDLE, *LPHANDLE;
typedef int32_t HRESULT;
typedef int32_t NTSTATUS, *PNTSTATUS;
typedef void *HLOCAL, *HGLOBAL, *HICON, *HMENU, *HKEY;
/* The type that the compilers let a program cast to any function. */
typedef void(WINAPI *FARPROC)(void);
typedef size_t *PSIZE_T;
typedef intptr_t SSIZE_T;
typedef const GUID *LPCGUID;
typedef GUID IID, CLSID;

typedef union _LARGE_INTEGER {
    __extension__ struct {
        DWORD LowPart;
        LONG HighPart;
    };
    struct {
        DWORD LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef union _ULARGE_INTEGER {
    __extension__ struct {
        DWORD LowPart;
        DWORD HighPart;
    };
    struct {
        DWORD LowPart;
        DWORD HighPart;
    } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

/* 100 ns since 1601. */
typedef struct _FILETIME {
    DWORD dwLowDateTime;
    DWORD dwHighDateTime;
} FILETIME, *PFILETIME, *LPFILETIME;

typedef struct _SYSTEMTIME {
    WORD wYear;
    WORD wMonth;
    WORD wDayOfWeek;
    WORD wDay;
    WORD wHour;
    WORD wMinute;
    WORD wSecond;
    WORD wMilliseconds;
} SYSTEMTIME, *PSYSTEMTIME, *LPSYSTEMTIME;

typedef struct _BLOB {
    ULONG cbSize;
    BYTE *pBlobData;
} BLOB, *PBLOB, *LPBLOB;

#ifdef UNICODE
typedef WCHAR TCHAR, *PTCHAR;
typedef LPWSTR LPTSTR, PTSTR;
typedef LPCWSTR LPCTSTR, PCTSTR;
#define TEXT(literal) u##literal
#else
typedef CHAR TCHAR, *PTCHAR;
typedef LPSTR LPTSTR, PTSTR;
typedef LPCSTR LPCTSTR, PCTSTR;
#define TEXT(literal) literal
#endif

#ifndef NULL
#define NULL 0
#endif
#define MAX_PATH 260
#define MAXULONG 0xffffffff
#define MAXDWORD 0xffffffff
#define INVALID_HANDLE_VALUE ((HANDLE)(LONG_PTR)-1)

#ifdef __cplusplus
#define GQOS_GUID static const GUID __attribute__((unused))
#define REFGUID const GUID &
#else
#define GQOS_GUID static const GUID __attribute__((__unused__))
#define REFGUID const GUID *
#endif
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                             \
    GQOS_GUID name = {a, b, c, {d0, d1, d2, d3, d4, d5, d6, d7}}
#define IsEqualGUID(one, other) (!memcmp(&(one), &(other), sizeof(GUID)))

#endif
