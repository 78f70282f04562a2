/* The part of the Windows API that console programs with sockets use: errors, events, waiting, threads, critical
 * sections, time, memory, libraries, and file handles. What each does: docs/WINSOCK.md. winsock2.h includes this, as
 * Windows' own includes windows.h. */
#ifndef GQOS_WINDOWS_API_H
#define GQOS_WINDOWS_API_H

#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

#include "errors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Memory. */
#define ZeroMemory(to, size) memset((to), 0, (size))
#define SecureZeroMemory ZeroMemory
#define RtlZeroMemory ZeroMemory
#define FillMemory(to, size, value) memset((to), (value), (size))
#define CopyMemory(to, from, size) memcpy((to), (from), (size))
#define MoveMemory(to, from, size) memmove((to), (from), (size))
#define HEAP_ZERO_MEMORY 0x00000008
#define GetProcessHeap() ((HANDLE)1)
static __inline LPVOID HeapAlloc(HANDLE heap, DWORD flags, SIZE_T size) {
    (void)heap;
    return flags & HEAP_ZERO_MEMORY ? calloc(1, size) : malloc(size);
}
static __inline BOOL HeapFree(HANDLE heap, DWORD flags, LPVOID memory) {
    (void)heap, (void)flags;
    free(memory);
    return TRUE;
}
extern size_t malloc_usable_size(void *memory);
static __inline SIZE_T HeapSize(HANDLE heap, DWORD flags, LPCVOID memory) {
    (void)heap, (void)flags;
    return malloc_usable_size((void *)(uintptr_t)memory);
}
static __inline LPVOID HeapReAlloc(HANDLE heap, DWORD flags, LPVOID memory, SIZE_T size) {
    (void)heap, (void)flags;
    return realloc(memory, size);
}
#define GPTR 0x0040
#define LPTR 0x0040
static __inline HLOCAL LocalAlloc(UINT flags, SIZE_T size) { return flags & LPTR ? calloc(1, size) : malloc(size); }
static __inline HLOCAL LocalFree(HLOCAL memory) {
    free(memory);
    return NULL;
}
#define GlobalAlloc LocalAlloc
#define GlobalFree LocalFree

/* Events, and waiting for them. A thread is an event that is signalled once it has ended. */
typedef struct _SECURITY_ATTRIBUTES {
    DWORD nLength;
    LPVOID lpSecurityDescriptor;
    BOOL bInheritHandle;
} SECURITY_ATTRIBUTES, *PSECURITY_ATTRIBUTES, *LPSECURITY_ATTRIBUTES;

#define WAIT_OBJECT_0 ((DWORD)0)
#define WAIT_ABANDONED ((DWORD)0x80)
#define WAIT_ABANDONED_0 WAIT_ABANDONED
#define WAIT_IO_COMPLETION ((DWORD)0xC0)
#define WAIT_FAILED ((DWORD)0xFFFFFFFF)
#define MAXIMUM_WAIT_OBJECTS 64

extern HANDLE gqos_CreateEvent(LPSECURITY_ATTRIBUTES attributes, BOOL manual_reset, BOOL initially_set,
                               const void *name);
static __inline HANDLE CreateEventA(LPSECURITY_ATTRIBUTES attributes, BOOL manual_reset, BOOL set, LPCSTR name) {
    return gqos_CreateEvent(attributes, manual_reset, set, name);
}
static __inline HANDLE CreateEventW(LPSECURITY_ATTRIBUTES attributes, BOOL manual_reset, BOOL set, LPCWSTR name) {
    return gqos_CreateEvent(attributes, manual_reset, set, name);
}
#ifdef UNICODE
#define CreateEvent CreateEventW
#else
#define CreateEvent CreateEventA
#endif
extern BOOL WINAPI SetEvent(HANDLE hEvent) GQOS(SetEvent);
extern BOOL WINAPI ResetEvent(HANDLE hEvent) GQOS(ResetEvent);
extern BOOL WINAPI CloseHandle(HANDLE hObject) GQOS(CloseHandle);
extern DWORD WINAPI WaitForSingleObjectEx(HANDLE hHandle, DWORD dwMilliseconds, BOOL bAlertable)
    GQOS(WaitForSingleObjectEx);
extern DWORD WINAPI WaitForMultipleObjectsEx(DWORD nCount, const HANDLE *lpHandles, BOOL bWaitAll,
                                             DWORD dwMilliseconds, BOOL bAlertable) GQOS(WaitForMultipleObjectsEx);
static __inline DWORD WaitForSingleObject(HANDLE hHandle, DWORD dwMilliseconds) {
    return WaitForSingleObjectEx(hHandle, dwMilliseconds, FALSE);
}
static __inline DWORD WaitForMultipleObjects(DWORD nCount, const HANDLE *lpHandles, BOOL bWaitAll,
                                             DWORD dwMilliseconds) {
    return WaitForMultipleObjectsEx(nCount, lpHandles, bWaitAll, dwMilliseconds, FALSE);
}

/* Mutexes, which belong to threads, and semaphores. */
extern HANDLE gqos_CreateMutex(BOOL owned);
extern int gqos_ReleaseMutex(HANDLE mutex);
extern HANDLE gqos_CreateSemaphore(LONG initial, LONG most);
extern LONG gqos_ReleaseSemaphore(HANDLE semaphore, LONG by);
static __inline HANDLE CreateMutexA(LPSECURITY_ATTRIBUTES attributes, BOOL owned, LPCSTR name) {
    (void)attributes, (void)name;
    return gqos_CreateMutex(owned);
}
static __inline HANDLE CreateMutexW(LPSECURITY_ATTRIBUTES attributes, BOOL owned, LPCWSTR name) {
    (void)attributes, (void)name;
    return gqos_CreateMutex(owned);
}
static __inline BOOL ReleaseMutex(HANDLE mutex) {
    int released = gqos_ReleaseMutex(mutex);
    if (released < 0)
        SetLastError(ERROR_NOT_OWNER);
    return released > 0;
}
static __inline HANDLE CreateSemaphoreA(LPSECURITY_ATTRIBUTES attributes, LONG initial, LONG most, LPCSTR name) {
    (void)attributes, (void)name;
    return gqos_CreateSemaphore(initial, most);
}
static __inline HANDLE CreateSemaphoreW(LPSECURITY_ATTRIBUTES attributes, LONG initial, LONG most, LPCWSTR name) {
    (void)attributes, (void)name;
    return gqos_CreateSemaphore(initial, most);
}
static __inline BOOL ReleaseSemaphore(HANDLE semaphore, LONG by, LONG *before) {
    LONG count = gqos_ReleaseSemaphore(semaphore, by);
    if (count == -2)
        SetLastError(ERROR_TOO_MANY_POSTS);
    if (count < 0)
        return FALSE;
    if (before)
        *before = count;
    return TRUE;
}
#ifdef UNICODE
#define CreateMutex CreateMutexW
#define CreateSemaphore CreateSemaphoreW
#else
#define CreateMutex CreateMutexA
#define CreateSemaphore CreateSemaphoreA
#endif

/* Timers: events that are signalled after a time, and again after each period. Times are relative; no routine is called. */
typedef void(CALLBACK *PTIMERAPCROUTINE)(LPVOID lpArg, DWORD dwTimerLowValue, DWORD dwTimerHighValue);
static __inline HANDLE CreateWaitableTimerA(LPSECURITY_ATTRIBUTES attributes, BOOL manual_reset, LPCSTR name) {
    return gqos_CreateEvent(attributes, manual_reset, FALSE, name);
}
#ifndef UNICODE
#define CreateWaitableTimer CreateWaitableTimerA
#endif
extern BOOL WINAPI SetWaitableTimer(HANDLE hTimer, const LARGE_INTEGER *lpDueTime, LONG lPeriod,
                                    PTIMERAPCROUTINE pfnCompletionRoutine, LPVOID lpArg, BOOL fResume)
    GQOS(SetWaitableTimer);
extern BOOL WINAPI CancelWaitableTimer(HANDLE hTimer) GQOS(CancelWaitableTimer);

/* Threads. */
typedef DWORD(WINAPI *LPTHREAD_START_ROUTINE)(LPVOID lpThreadParameter);
typedef LPTHREAD_START_ROUTINE PTHREAD_START_ROUTINE;
struct gqos_thread {
    LPTHREAD_START_ROUTINE start;
    LPVOID parameter;
    HANDLE ended;
};
/* The thread has ended, by its function's return or by ExitThread. */
static __inline void gqos_thread_ended(void *argument) {
    HANDLE ended = ((struct gqos_thread *)argument)->ended;
    free(argument);
    SetEvent(ended);
}
static __inline void *gqos_run_thread(void *argument) {
    pthread_cleanup_push(gqos_thread_ended, argument);
    ((struct gqos_thread *)argument)->start(((struct gqos_thread *)argument)->parameter);
    pthread_cleanup_pop(1);
    return NULL;
}
static __inline HANDLE CreateThread(LPSECURITY_ATTRIBUTES attributes, SIZE_T stack, LPTHREAD_START_ROUTINE start,
                                    LPVOID parameter, DWORD flags, LPDWORD id) {
    static DWORD last_id;
    struct gqos_thread *thread = (struct gqos_thread *)malloc(sizeof *thread);
    HANDLE ended = thread ? gqos_CreateEvent(attributes, TRUE, FALSE, NULL) : NULL;
    pthread_t made;
    (void)stack, (void)flags;
    if (!ended) {
        free(thread);
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    thread->start = start;
    thread->parameter = parameter;
    thread->ended = ended;
    if (id)
        *id = __sync_add_and_fetch(&last_id, 1);
    if (pthread_create(&made, NULL, gqos_run_thread, thread)) {
        free(thread);
        CloseHandle(ended);
        SetLastError(ERROR_NO_SYSTEM_RESOURCES);
        return NULL;
    }
    pthread_detach(made);
    return ended;
}
/* Values of each thread, 0 at first. */
#define TLS_OUT_OF_INDEXES ((DWORD)0xFFFFFFFF)
static __inline DWORD TlsAlloc(void) {
    pthread_key_t key;
    if (pthread_key_create(&key, NULL)) {
        SetLastError(ERROR_NO_SYSTEM_RESOURCES);
        return TLS_OUT_OF_INDEXES;
    }
    return (DWORD)key;
}
static __inline LPVOID TlsGetValue(DWORD index) {
    SetLastError(ERROR_SUCCESS);
    return pthread_getspecific((pthread_key_t)index);
}
static __inline BOOL TlsSetValue(DWORD index, LPVOID value) {
    if (pthread_setspecific((pthread_key_t)index, value) == 0)
        return TRUE;
    SetLastError(ERROR_INVALID_PARAMETER);
    return FALSE;
}
static __inline BOOL TlsFree(DWORD index) {
    if (pthread_key_delete((pthread_key_t)index) == 0)
        return TRUE;
    SetLastError(ERROR_INVALID_PARAMETER);
    return FALSE;
}
#define GetCurrentThreadId() ((DWORD)(uintptr_t)pthread_self())
#define GetCurrentProcessId() ((DWORD)getpid())
#define ExitProcess(code) exit((int)(code))
#define ExitThread(code) pthread_exit((void *)(uintptr_t)(code))
#define SwitchToThread() (sched_yield() == 0)

/* Critical sections: recursive, as on Windows. */
typedef pthread_mutex_t CRITICAL_SECTION, *PCRITICAL_SECTION, *LPCRITICAL_SECTION;
static __inline void InitializeCriticalSection(LPCRITICAL_SECTION section) {
    /* PTHREAD_MUTEX_RECURSIVE, which strict C90 does not declare. */
    enum { gqos_recursive = 1 };
    extern int pthread_mutexattr_settype(pthread_mutexattr_t *, int);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, gqos_recursive);
    pthread_mutex_init(section, &attributes);
    pthread_mutexattr_destroy(&attributes);
}
static __inline BOOL InitializeCriticalSectionAndSpinCount(LPCRITICAL_SECTION section, DWORD spins) {
    (void)spins;
    InitializeCriticalSection(section);
    return TRUE;
}
static __inline void EnterCriticalSection(LPCRITICAL_SECTION section) { pthread_mutex_lock(section); }
static __inline BOOL TryEnterCriticalSection(LPCRITICAL_SECTION section) { return !pthread_mutex_trylock(section); }
static __inline void LeaveCriticalSection(LPCRITICAL_SECTION section) { pthread_mutex_unlock(section); }
static __inline void DeleteCriticalSection(LPCRITICAL_SECTION section) { pthread_mutex_destroy(section); }

/* Atomic operations; the first two return the new value, the others the old one. */
#define InterlockedIncrement(value) __sync_add_and_fetch((value), 1)
#define InterlockedDecrement(value) __sync_sub_and_fetch((value), 1)
#define InterlockedExchange(value, by) __atomic_exchange_n((value), (by), __ATOMIC_SEQ_CST)
#define InterlockedExchangePointer InterlockedExchange
#define InterlockedCompareExchangePointer InterlockedCompareExchange
#define InterlockedAnd(value, by) __sync_fetch_and_and((value), (by))
#define InterlockedOr(value, by) __sync_fetch_and_or((value), (by))
#define InterlockedIncrement64 InterlockedIncrement
#define InterlockedDecrement64 InterlockedDecrement
#define InterlockedExchangeAdd64 InterlockedExchangeAdd
#define InterlockedExchangeAdd(value, by) __sync_fetch_and_add((value), (by))
#define InterlockedCompareExchange(value, by, expected) __sync_val_compare_and_swap((value), (expected), (by))

/* Time. Standard C alone does not declare the clock. */
#ifndef CLOCK_MONOTONIC
extern int clock_gettime(int clock, struct timespec *now);
#endif
static __inline ULONGLONG gqos_nanoseconds(void) {
    enum { monotonic = 1 };
    struct timespec now;
    clock_gettime(monotonic, &now);
    return (ULONGLONG)now.tv_sec * 1000000000u + (ULONGLONG)now.tv_nsec;
}
static __inline ULONGLONG GetTickCount64(void) { return gqos_nanoseconds() / 1000000; }
static __inline DWORD GetTickCount(void) { return (DWORD)GetTickCount64(); }
#define timeGetTime GetTickCount
static __inline BOOL QueryPerformanceFrequency(LARGE_INTEGER *frequency) {
    frequency->QuadPart = 1000000000;
    return TRUE;
}
static __inline BOOL QueryPerformanceCounter(LARGE_INTEGER *count) {
    count->QuadPart = (LONGLONG)gqos_nanoseconds();
    return TRUE;
}
static __inline void Sleep(DWORD milliseconds) {
    ULONGLONG end = GetTickCount64() + milliseconds;
    for (;;) {
        ULONGLONG now = GetTickCount64();
        if (milliseconds != INFINITE && now >= end)
            return;
        /* A signal handler ends the wait early. */
        poll(NULL, 0, milliseconds == INFINITE || end - now > 1000 ? 1000 : (int)(end - now));
    }
}

/* Libraries: files that dlopen opens. */
static __inline HMODULE LoadLibraryA(LPCSTR path) {
    HMODULE module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        SetLastError(ERROR_MOD_NOT_FOUND);
    return module;
}
static __inline HMODULE LoadLibraryW(LPCWSTR path) {
    char narrow[4 * MAX_PATH];
    size_t length = 0;
    /* Paths of this library's own are UTF-8; other characters than ASCII's take two or three bytes. */
    for (; *path && length + 3 < sizeof narrow; path++) {
        if (*path < 0x80) {
            narrow[length++] = (char)*path;
        } else if (*path < 0x800) {
            narrow[length++] = (char)(0xc0 | *path >> 6);
            narrow[length++] = (char)(0x80 | (*path & 0x3f));
        } else {
            narrow[length++] = (char)(0xe0 | *path >> 12);
            narrow[length++] = (char)(0x80 | (*path >> 6 & 0x3f));
            narrow[length++] = (char)(0x80 | (*path & 0x3f));
        }
    }
    narrow[length] = 0;
    return LoadLibraryA(narrow);
}
static __inline FARPROC GetProcAddress(HMODULE module, LPCSTR name) {
    union {
        void *object;
        FARPROC function;
    } symbol;
    symbol.object = dlsym(module, name);
    if (!symbol.object)
        SetLastError(ERROR_PROC_NOT_FOUND);
    return symbol.function;
}
static __inline BOOL FreeLibrary(HMODULE module) { return !dlclose(module); }
#ifdef UNICODE
#define LoadLibrary LoadLibraryW
#else
#define LoadLibrary LoadLibraryA
#endif

/* The handle of a file is its descriptor. CloseHandle closes it. */
static __inline LONG_PTR _get_osfhandle(int descriptor) { return descriptor; }
static __inline int _open_osfhandle(LONG_PTR handle, int flags) {
    (void)flags;
    return (int)handle;
}
#define GENERIC_READ 0x80000000
#define GENERIC_WRITE 0x40000000
#define FILE_SHARE_READ 0x00000001
#define FILE_SHARE_WRITE 0x00000002
#define CREATE_NEW 1
#define CREATE_ALWAYS 2
#define OPEN_EXISTING 3
#define OPEN_ALWAYS 4
#define TRUNCATE_EXISTING 5
#define FILE_ATTRIBUTE_NORMAL 0x00000080
#define FILE_FLAG_SEQUENTIAL_SCAN 0x08000000
#define FILE_FLAG_OVERLAPPED 0x40000000
static __inline HANDLE CreateFileA(LPCSTR path, DWORD access, DWORD share, LPSECURITY_ATTRIBUTES attributes,
                                   DWORD disposition, DWORD flags, HANDLE model) {
    int mode = access & GENERIC_WRITE ? access & GENERIC_READ ? O_RDWR : O_WRONLY : O_RDONLY;
    int descriptor;
    (void)share, (void)attributes, (void)flags, (void)model;
    if (disposition == CREATE_NEW)
        mode |= O_CREAT | O_EXCL;
    else if (disposition == CREATE_ALWAYS)
        mode |= O_CREAT | O_TRUNC;
    else if (disposition == OPEN_ALWAYS)
        mode |= O_CREAT;
    else if (disposition == TRUNCATE_EXISTING)
        mode |= O_TRUNC;
    descriptor = open(path, mode, 0666);
    if (descriptor < 0) {
        SetLastError(disposition == CREATE_NEW ? ERROR_ALREADY_EXISTS : ERROR_FILE_NOT_FOUND);
        return INVALID_HANDLE_VALUE;
    }
    return (HANDLE)(LONG_PTR)descriptor;
}
#ifndef UNICODE
#define CreateFile CreateFileA
#endif

/* Standard handles, and reading and writing. A SOCKET is read by recv and written by send, so that its flow is shaped. */
#define STD_INPUT_HANDLE ((DWORD)-10)
#define STD_OUTPUT_HANDLE ((DWORD)-11)
#define STD_ERROR_HANDLE ((DWORD)-12)
static __inline HANDLE GetStdHandle(DWORD which) {
    if (which == STD_INPUT_HANDLE || which == STD_OUTPUT_HANDLE || which == STD_ERROR_HANDLE)
        return (HANDLE)(LONG_PTR)(LONG)which;
    SetLastError(ERROR_INVALID_HANDLE);
    return INVALID_HANDLE_VALUE;
}
/* errno, whose header also has names that programs define for Winsock's codes. */
extern int *gqos_errno(void) __asm__("__errno_location");
enum { gqos_interrupted = 4, gqos_bad_descriptor = 9 };
/* The descriptor of a file or of a standard handle; -1 for what is neither. */
static __inline int gqos_descriptor(HANDLE handle) {
    LONG_PTR value = (LONG_PTR)handle;
    if (value >= -12 && value <= -10)
        return (int)(-10 - value);
    return value > 0 && value <= 0x7fffffff ? (int)value : -1;
}
static __inline BOOL gqos_transferred(long transferred, DWORD error, LPDWORD count, LPOVERLAPPED overlapped) {
    if (count)
        *count = transferred > 0 ? (DWORD)transferred : 0;
    if (transferred >= 0)
        return TRUE;
    SetLastError(overlapped ? ERROR_NOT_SUPPORTED : error);
    return FALSE;
}
/* Whether the thread's error says that a handle is no SOCKET. */
static __inline BOOL gqos_is_no_socket(void) {
    DWORD error = GetLastError();
    return error == WSAENOTSOCK || error == WSANOTINITIALISED;
}
static __inline BOOL ReadFile(HANDLE file, LPVOID buffer, DWORD size, LPDWORD read_bytes, LPOVERLAPPED overlapped) {
    int descriptor = gqos_descriptor(file), limit = size > 0x7fffffff ? 0x7fffffff : (int)size;
    long got = -1;
    DWORD before = GetLastError();
    if (descriptor < 0)
        return gqos_transferred(-1, ERROR_INVALID_HANDLE, read_bytes, NULL);
    if (overlapped)
        return gqos_transferred(-1, ERROR_NOT_SUPPORTED, read_bytes, overlapped);
    if (descriptor > 2) {
        got = recv((SOCKET)descriptor, (char *)buffer, limit, 0);
        if (got >= 0 || !gqos_is_no_socket())
            return gqos_transferred(got, GetLastError(), read_bytes, NULL);
        SetLastError(before);
    }
    do
        got = read(descriptor, buffer, (size_t)limit);
    while (got < 0 && *gqos_errno() == gqos_interrupted);
    return gqos_transferred(got, *gqos_errno() == gqos_bad_descriptor ? ERROR_INVALID_HANDLE : ERROR_READ_FAULT, read_bytes, NULL);
}
static __inline BOOL WriteFile(HANDLE file, LPCVOID buffer, DWORD size, LPDWORD written, LPOVERLAPPED overlapped) {
    int descriptor = gqos_descriptor(file), limit = size > 0x7fffffff ? 0x7fffffff : (int)size;
    long sent = -1, all = 0;
    DWORD before = GetLastError();
    if (descriptor < 0)
        return gqos_transferred(-1, ERROR_INVALID_HANDLE, written, NULL);
    if (overlapped)
        return gqos_transferred(-1, ERROR_NOT_SUPPORTED, written, overlapped);
    if (descriptor > 2) {
        sent = send((SOCKET)descriptor, (const char *)buffer, limit, 0);
        if (sent >= 0 || !gqos_is_no_socket())
            return gqos_transferred(sent, GetLastError(), written, NULL);
        SetLastError(before);
    }
    while (all < limit) {
        sent = write(descriptor, (const char *)buffer + all, (size_t)(limit - all));
        if (sent > 0)
            all += sent;
        else if (*gqos_errno() != gqos_interrupted)
            return gqos_transferred(-1, *gqos_errno() == gqos_bad_descriptor ? ERROR_INVALID_HANDLE : ERROR_WRITE_FAULT, written, NULL);
    }
    return gqos_transferred(all, 0, written, NULL);
}
#define FILE_BEGIN 0
#define FILE_CURRENT 1
#define FILE_END 2
#define INVALID_FILE_SIZE ((DWORD)0xFFFFFFFF)
#define INVALID_SET_FILE_POINTER ((DWORD)0xFFFFFFFF)
static __inline BOOL SetFilePointerEx(HANDLE file, LARGE_INTEGER distance, LARGE_INTEGER *place, DWORD method) {
    off_t at = lseek(gqos_descriptor(file), (off_t)distance.QuadPart,
                     method == FILE_BEGIN ? SEEK_SET : method == FILE_CURRENT ? SEEK_CUR : SEEK_END);
    if (at < 0) {
        SetLastError(*gqos_errno() == gqos_bad_descriptor ? ERROR_INVALID_HANDLE : ERROR_INVALID_PARAMETER);
        return FALSE;
    }
    if (place)
        place->QuadPart = at;
    return TRUE;
}
static __inline BOOL GetFileSizeEx(HANDLE file, LARGE_INTEGER *size) {
    LARGE_INTEGER nothing, here;
    nothing.QuadPart = 0;
    return SetFilePointerEx(file, nothing, &here, FILE_CURRENT) && SetFilePointerEx(file, nothing, size, FILE_END) &&
           SetFilePointerEx(file, here, NULL, FILE_BEGIN);
}
static __inline DWORD GetFileSize(HANDLE file, LPDWORD high) {
    LARGE_INTEGER size;
    if (!GetFileSizeEx(file, &size))
        return INVALID_FILE_SIZE;
    if (high)
        *high = (DWORD)(size.QuadPart >> 32);
    return (DWORD)size.QuadPart;
}

/* The C library's functions by Microsoft's names. */
#define _strnicmp strncasecmp
#define _stricmp strcasecmp
#define strnicmp strncasecmp
#define stricmp strcasecmp
#define lstrlenA(text) ((int)strlen(text))
#define lstrcpyA strcpy
#define lstrcatA strcat
#define lstrcmpA strcmp
#define lstrcmpiA strcasecmp
#ifndef UNICODE
#define lstrlen lstrlenA
#define lstrcpy lstrcpyA
#define lstrcat lstrcatA
#define lstrcmp lstrcmpA
#define lstrcmpi lstrcmpiA
#endif
#ifndef _countof
#define _countof(array) (sizeof(array) / sizeof((array)[0]))
#endif
#define ARRAYSIZE _countof
#if !defined(__cplusplus) && !defined(NOMINMAX)
#ifndef max
#define max(one, other) ((one) > (other) ? (one) : (other))
#define min(one, other) ((one) < (other) ? (one) : (other))
#endif
#endif
#define S_OK ((HRESULT)0)
#define S_FALSE ((HRESULT)1)
#define E_FAIL ((HRESULT)0x80004005)
#define E_UNEXPECTED ((HRESULT)0x8000FFFF)
#define E_INVALIDARG ((HRESULT)0x80070057)
#define E_OUTOFMEMORY ((HRESULT)0x8007000E)
#define HRESULT_FROM_WIN32(error) ((HRESULT)((error) ? (((DWORD)(error) & 0xffff) | 0x80070000) : 0))
#define SUCCEEDED(result) ((HRESULT)(result) >= 0)
#define FAILED(result) ((HRESULT)(result) < 0)
#define CTRL_C_EVENT 0
#define CTRL_BREAK_EVENT 1
#define CTRL_CLOSE_EVENT 2
#define CTRL_LOGOFF_EVENT 5
#define CTRL_SHUTDOWN_EVENT 6
typedef BOOL(WINAPI *PHANDLER_ROUTINE)(DWORD dwCtrlType);
/* The function is called on interrupts, in the handler of SIGINT. */
static __inline PHANDLER_ROUTINE *gqos_control_handler(void) {
    static PHANDLER_ROUTINE handler;
    return &handler;
}
static __inline void gqos_on_interrupt(int signal_number) {
    (void)signal_number;
    if (*gqos_control_handler() && !(*gqos_control_handler())(CTRL_C_EVENT))
        _exit(130);
}
static __inline BOOL SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add) {
    *gqos_control_handler() = add ? handler : NULL;
    signal(SIGINT, add && handler ? gqos_on_interrupt : add ? SIG_IGN : SIG_DFL);
    return TRUE;
}

static __inline BOOL GenerateConsoleCtrlEvent(DWORD event, DWORD group) {
    (void)event, (void)group;
    return raise(SIGINT) == 0;
}
#define MAX_COMPUTERNAME_LENGTH 255
static __inline BOOL GetComputerNameA(LPSTR name, LPDWORD size) {
    if (gethostname(name, (int)*size) != 0)
        return FALSE;
    *size = (DWORD)strlen(name);
    return TRUE;
}
#ifndef UNICODE
#define GetComputerName GetComputerNameA
#endif

/* Texts of errors: the number's name, in memory for LocalFree or in the program's own. */
#define FORMAT_MESSAGE_ALLOCATE_BUFFER 0x00000100
#define FORMAT_MESSAGE_IGNORE_INSERTS 0x00000200
#define FORMAT_MESSAGE_FROM_SYSTEM 0x00001000
#define FORMAT_MESSAGE_MAX_WIDTH_MASK 0x000000FF
#define LANG_NEUTRAL 0
#define SUBLANG_DEFAULT 1
#define MAKELANGID(primary, sub) ((WORD)((WORD)(sub) << 10 | (WORD)(primary)))
static __inline DWORD FormatMessageA(DWORD flags, LPCVOID source, DWORD code, DWORD language, LPSTR buffer, DWORD size,
                                     va_list *arguments) {
    extern char *gqos_error_text(int code) GQOS(gai_strerrorA);
    char text[128];
    DWORD length;
    LPSTR to = buffer;
    (void)source, (void)language, (void)arguments;
    if (flags & FORMAT_MESSAGE_ALLOCATE_BUFFER) {
        size = 128;
        to = (LPSTR)malloc(size);
        *(LPSTR *)(void *)buffer = to;
    }
    if (!to || !size)
        return 0;
    /* Of a longer text its beginning. */
    sprintf(text, "%.100s (%u)", gqos_error_text((int)code), (unsigned)code);
    length = strlen(text) < size ? (DWORD)strlen(text) : size - 1;
    memcpy(to, text, length);
    to[length] = 0;
    return length;
}
#ifndef UNICODE
#define FormatMessage FormatMessageA
#endif

#ifdef __cplusplus
}
#endif
#endif
