/* Threads by the names of Microsoft's C library. */
#ifndef GQOS_PROCESS_H
#define GQOS_PROCESS_H

#include "winsock2.h"

static __inline uintptr_t _beginthreadex(void *security, unsigned stack, unsigned(__stdcall *start)(void *),
                                         void *parameter, unsigned flags, unsigned *id) {
    DWORD number = 0;
    HANDLE thread = CreateThread((LPSECURITY_ATTRIBUTES)security, stack, (LPTHREAD_START_ROUTINE)start, parameter,
                                 flags, &number);
    if (id)
        *id = number;
    return (uintptr_t)thread;
}
#define _endthreadex(code) ExitThread(code)
#define _getpid getpid

#endif
