/* Texts of limited length. A text that does not fit is cut, and the result is STRSAFE_E_INSUFFICIENT_BUFFER. */
#ifndef GQOS_STRSAFE_H
#define GQOS_STRSAFE_H

#include "winsock2.h"

#define STRSAFE_MAX_CCH 2147483647
#define STRSAFE_E_INSUFFICIENT_BUFFER ((HRESULT)0x8007007A)
#define STRSAFE_E_INVALID_PARAMETER ((HRESULT)0x80070057)

static __inline HRESULT StringCchVPrintfA(LPSTR to, size_t size, LPCSTR format, va_list arguments) {
    int length;
    if (!to || !size)
        return STRSAFE_E_INVALID_PARAMETER;
    length = __builtin_vsnprintf(to, size, format, arguments);
    return length < 0 || (size_t)length >= size ? STRSAFE_E_INSUFFICIENT_BUFFER : S_OK;
}
__attribute__((__format__(__printf__, 3, 4))) static __inline HRESULT StringCchPrintfA(LPSTR to, size_t size,
                                                                                       LPCSTR format, ...) {
    HRESULT result;
    va_list arguments;
    va_start(arguments, format);
    result = StringCchVPrintfA(to, size, format, arguments);
    va_end(arguments);
    return result;
}
static __inline HRESULT StringCchCopyNA(LPSTR to, size_t size, LPCSTR from, size_t most) {
    size_t length = 0;
    if (!to || !size)
        return STRSAFE_E_INVALID_PARAMETER;
    for (; length + 1 < size && length < most && from[length]; length++)
        to[length] = from[length];
    to[length] = 0;
    return length < most && from[length] ? STRSAFE_E_INSUFFICIENT_BUFFER : S_OK;
}
static __inline HRESULT StringCchCopyA(LPSTR to, size_t size, LPCSTR from) {
    return StringCchCopyNA(to, size, from, STRSAFE_MAX_CCH);
}
static __inline HRESULT StringCchCatA(LPSTR to, size_t size, LPCSTR from) {
    size_t length = 0;
    while (length < size && to[length])
        length++;
    return StringCchCopyA(to + length, size - length, from);
}
static __inline HRESULT StringCchLengthA(LPCSTR text, size_t most, size_t *length) {
    size_t found = 0;
    while (found < most && text[found])
        found++;
    if (length)
        *length = found;
    return found < most ? S_OK : STRSAFE_E_INVALID_PARAMETER;
}
#define StringCbVPrintfA StringCchVPrintfA
#define StringCbPrintfA StringCchPrintfA
#define StringCbCopyNA StringCchCopyNA
#define StringCbCopyA StringCchCopyA
#define StringCbCatA StringCchCatA
#define StringCbLengthA StringCchLengthA
#ifndef UNICODE
#define StringCchVPrintf StringCchVPrintfA
#define StringCchPrintf StringCchPrintfA
#define StringCchCopyN StringCchCopyNA
#define StringCchCopy StringCchCopyA
#define StringCchCat StringCchCatA
#define StringCchLength StringCchLengthA
#define StringCbVPrintf StringCchVPrintfA
#define StringCbPrintf StringCchPrintfA
#define StringCbCopyN StringCchCopyNA
#define StringCbCopy StringCchCopyA
#define StringCbCat StringCchCatA
#define StringCbLength StringCchLengthA
#endif

#endif
