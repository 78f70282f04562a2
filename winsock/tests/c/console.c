/* A console program by windows.h: events, threads, critical sections, mutexes, semaphores, waiting, files, errors.
 * Compiles as C and as C++. */
#include <windows.h>
#include <stdio.h>
#include "check.h"

static CRITICAL_SECTION section;
static LONG counted;
static HANDLE go;

static DWORD WINAPI count(LPVOID parameter) {
    int i;
    WaitForSingleObject(go, INFINITE);
    for (i = 0; i < 1000; i++) {
        EnterCriticalSection(&section);
        EnterCriticalSection(&section);
        counted += *(int *)parameter;
        LeaveCriticalSection(&section);
        LeaveCriticalSection(&section);
    }
    return 0;
}

static DWORD slot;
static HANDLE held, places, seen;

/* Ends in the middle, with a mutex. */
static DWORD WINAPI leave(LPVOID parameter) {
    WaitForSingleObject(held, INFINITE);
    TlsSetValue(slot, parameter);
    SetEvent(seen);
    WaitForSingleObject(go, INFINITE);
    if (TlsGetValue(slot) == parameter)
        ExitThread(0);
    return 1;
}

static DWORD WINAPI tries(LPVOID parameter) {
    *(DWORD *)parameter = WaitForSingleObject(held, 0);
    if (!ReleaseMutex(held))
        ((DWORD *)parameter)[1] = GetLastError();
    return 0;
}

/* Mutexes, semaphores and values of threads. */
static void owned_and_counted(void) {
    DWORD found[2] = {0, 0};
    HANDLE thread, all[2];
    LONG before = 9;

    held = CreateMutex(NULL, TRUE, NULL);
    thread = CreateThread(NULL, 0, tries, found, 0, NULL);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    check("a mutex of another thread", (int)found[0], WAIT_TIMEOUT);
    check("its release", (int)found[1], ERROR_NOT_OWNER);
    check("its own thread again", (int)WaitForSingleObject(held, 0), WAIT_OBJECT_0);
    check("ReleaseMutex", ReleaseMutex(held) && ReleaseMutex(held), TRUE);
    check("once too often", ReleaseMutex(held), FALSE);
    check("its error", (int)GetLastError(), ERROR_NOT_OWNER);

    places = CreateSemaphore(NULL, 1, 2, NULL);
    check("ReleaseSemaphore", ReleaseSemaphore(places, 1, &before), TRUE);
    check("the count before", (int)before, 1);
    check("above its most", ReleaseSemaphore(places, 1, NULL), FALSE);
    check("its error", (int)GetLastError(), ERROR_TOO_MANY_POSTS);
    check("the first place", (int)WaitForSingleObject(places, 0), WAIT_OBJECT_0);
    all[0] = held;
    all[1] = places;
    check("both", (int)WaitForMultipleObjects(2, all, TRUE, 0), WAIT_OBJECT_0);
    check("no place", (int)WaitForSingleObject(places, 0), WAIT_TIMEOUT);
    check("the mutex is this thread's", (int)WaitForMultipleObjects(2, all, TRUE, 0), WAIT_TIMEOUT);
    check("one of both", (int)WaitForMultipleObjects(2, all, FALSE, 0), WAIT_OBJECT_0);
    check("ReleaseMutex", ReleaseMutex(held) && ReleaseMutex(held), TRUE);
    check("no event", SetEvent(places) || ResetEvent(held), FALSE);
    check("its error", (int)GetLastError(), ERROR_INVALID_HANDLE);
    check("no mutex", ReleaseMutex(places), FALSE);
    check("no semaphore", ReleaseSemaphore(held, 1, NULL), FALSE);
    check("a semaphore above its most", CreateSemaphore(NULL, 3, 2, NULL) == NULL, 1);

    slot = TlsAlloc();
    check("no value", TlsGetValue(slot) == NULL, 1);
    TlsSetValue(slot, &before);
    seen = CreateEvent(NULL, TRUE, FALSE, NULL);
    ResetEvent(go);
    thread = CreateThread(NULL, 0, leave, found, 0, NULL);
    WaitForSingleObject(seen, INFINITE);
    check("the other thread has the mutex", (int)WaitForSingleObject(held, 0), WAIT_TIMEOUT);
    SetEvent(go);
    check("ExitThread", (int)WaitForSingleObject(thread, 10000), WAIT_OBJECT_0);
    check("its mutex is abandoned", (int)WaitForSingleObject(held, 10000), WAIT_ABANDONED);
    check("and as any other then", ReleaseMutex(held) && WaitForSingleObject(held, 0) == WAIT_OBJECT_0, TRUE);
    check("this thread's value", TlsGetValue(slot) == &before, 1);
    check("TlsFree", TlsFree(slot), TRUE);
    check("CloseHandle", CloseHandle(thread) && CloseHandle(held) && CloseHandle(places) && CloseHandle(seen), TRUE);
}

/* Standard handles and files. */
static void files(void) {
    char path[64], text[16];
    DWORD count = 0;
    HANDLE file, out = GetStdHandle(STD_OUTPUT_HANDLE);
    LONG value = 5;
    LARGE_INTEGER start;

    fflush(stdout);
    check("WriteFile", WriteFile(out, "written\n", 8, &count, NULL), TRUE);
    check("its count", (int)count, 8);
    check("no handle", WriteFile(INVALID_HANDLE_VALUE, "", 0, &count, NULL), FALSE);
    check("its error", (int)GetLastError(), ERROR_INVALID_HANDLE);
    sprintf(path, "/tmp/gqos-console-%u", (unsigned)GetCurrentProcessId());
    file = CreateFile(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    check("CreateFile", file != INVALID_HANDLE_VALUE, 1);
    check("WriteFile", WriteFile(file, "some text", 9, &count, NULL) && count == 9, TRUE);
    check("GetFileSize", (int)GetFileSize(file, NULL), 9);
    start.QuadPart = 5;
    check("SetFilePointerEx", SetFilePointerEx(file, start, NULL, FILE_BEGIN), TRUE);
    check("ReadFile", ReadFile(file, text, sizeof text, &count, NULL) && count == 4, TRUE);
    check("the text", memcmp(text, "text", 4), 0);
    check("the end", ReadFile(file, text, sizeof text, &count, NULL) && count == 0, TRUE);
    CloseHandle(file);
    check("a closed file", ReadFile(file, text, sizeof text, &count, NULL), FALSE);
    check("its error", (int)GetLastError(), ERROR_INVALID_HANDLE);
    remove(path);
    check("InterlockedCompareExchange", InterlockedCompareExchange(&value, 7, 5) == 5 && value == 7, 1);
    check("InterlockedExchange", InterlockedExchange(&value, 1) == 7 && InterlockedIncrement(&value) == 2, 1);
}

/* WSAWaitForMultipleEvents resets the automatic events that have ended it, and no others. */
static void automatic_events(void) {
    HANDLE one = CreateEvent(NULL, FALSE, TRUE, NULL), two[2], manual = CreateEvent(NULL, TRUE, TRUE, NULL), mutex;
    struct sockaddr_in name = address("127.0.0.1", 0);
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    WSANETWORKEVENTS found;
    int length = sizeof name;
    char byte;

    check("an event that is set", (int)WSAWaitForMultipleEvents(1, &one, FALSE, 0, FALSE), WSA_WAIT_EVENT_0);
    check("a wait has reset it", (int)WSAWaitForMultipleEvents(1, &one, FALSE, 0, FALSE), WSA_WAIT_TIMEOUT);
    check("a manual one", (int)WSAWaitForMultipleEvents(1, &manual, FALSE, 0, FALSE), WSA_WAIT_EVENT_0);
    check("is not reset", (int)WSAWaitForMultipleEvents(1, &manual, FALSE, 0, FALSE), WSA_WAIT_EVENT_0);

    two[0] = CreateEvent(NULL, FALSE, TRUE, NULL);
    two[1] = CreateEvent(NULL, FALSE, TRUE, NULL);
    check("one of two", (int)WSAWaitForMultipleEvents(2, two, FALSE, 0, FALSE), WSA_WAIT_EVENT_0);
    check("leaves the other", (int)WSAWaitForMultipleEvents(2, two, FALSE, 0, FALSE), WSA_WAIT_EVENT_0 + 1);
    check("then none", (int)WSAWaitForMultipleEvents(2, two, FALSE, 0, FALSE), WSA_WAIT_TIMEOUT);
    SetEvent(two[1]);
    check("not both", (int)WSAWaitForMultipleEvents(2, two, TRUE, 20, FALSE), WSA_WAIT_TIMEOUT);
    check("a wait that fails resets none", (int)WaitForSingleObject(two[1], 0), WAIT_OBJECT_0);
    SetEvent(two[0]);
    SetEvent(two[1]);
    check("both", (int)WSAWaitForMultipleEvents(2, two, TRUE, 0, FALSE), WSA_WAIT_EVENT_0);
    check("are reset", (int)WSAWaitForMultipleEvents(2, two, FALSE, 0, FALSE), WSA_WAIT_TIMEOUT);

    GIVES("bind", bind(s, (struct sockaddr *)&name, sizeof name));
    GIVES("getsockname", getsockname(s, (struct sockaddr *)&name, &length));
    GIVES("WSAEventSelect", WSAEventSelect(s, one, FD_READ));
    check("sendto", sendto(s, "x", 1, 0, (struct sockaddr *)&name, sizeof name), 1);
    check("FD_READ", (int)WSAWaitForMultipleEvents(1, &one, FALSE, 10000, FALSE), WSA_WAIT_EVENT_0);
    check("once", (int)WSAWaitForMultipleEvents(1, &one, FALSE, 20, FALSE), WSA_WAIT_TIMEOUT);
    GIVES("WSAEnumNetworkEvents", WSAEnumNetworkEvents(s, NULL, &found));
    check("recv", recv(s, &byte, 1, 0), 1);
    check("sendto", sendto(s, "y", 1, 0, (struct sockaddr *)&name, sizeof name), 1);
    check("FD_READ again", (int)WSAWaitForMultipleEvents(1, &one, FALSE, 10000, FALSE), WSA_WAIT_EVENT_0);
    closesocket(s);

    mutex = CreateMutex(NULL, FALSE, NULL);
    check("a mutex", (int)WSAWaitForMultipleEvents(1, &mutex, FALSE, 0, FALSE), WSA_WAIT_EVENT_0);
    check("is this thread's", ReleaseMutex(mutex), TRUE);
    check("WSACloseEvent", WSACloseEvent(one) && WSACloseEvent(two[0]) && WSACloseEvent(two[1]), TRUE);
    check("of the others", WSACloseEvent(mutex) && WSACloseEvent(manual), TRUE);
    check("of none", WSACloseEvent(mutex) ? 0 : (int)WSAGetLastError(), WSA_INVALID_HANDLE);
}

int main(void) {
    HANDLE threads[4], automatic, both[2];
    int one = 1, i;
    ULONGLONG before;
    char *text = NULL;
    WSADATA data;

    /* Before WSAStartup. */
    InitializeCriticalSection(&section);
    go = CreateEvent(NULL, TRUE, FALSE, NULL);
    for (i = 0; i < 4; i++)
        threads[i] = CreateThread(NULL, 0, count, &one, 0, NULL);
    check("the threads wait", (int)WaitForMultipleObjects(4, threads, TRUE, 20), WAIT_TIMEOUT);
    SetEvent(go);
    check("the threads end", (int)WaitForMultipleObjects(4, threads, TRUE, INFINITE), WAIT_OBJECT_0);
    check("what they have counted", counted, 4000);
    for (i = 0; i < 4; i++)
        check("CloseHandle", CloseHandle(threads[i]), TRUE);
    DeleteCriticalSection(&section);

    automatic = CreateEvent(NULL, FALSE, TRUE, NULL);
    check("an event that is set", (int)WaitForSingleObject(automatic, 0), WAIT_OBJECT_0);
    check("a wait has reset it", (int)WaitForSingleObject(automatic, 0), WAIT_TIMEOUT);
    both[0] = automatic;
    both[1] = go;
    check("one of two", (int)WaitForMultipleObjects(2, both, FALSE, 0), WAIT_OBJECT_0 + 1);
    check("both", (int)WaitForMultipleObjects(2, both, TRUE, 0), WAIT_TIMEOUT);
    SetEvent(automatic);
    check("both", (int)WaitForMultipleObjects(2, both, TRUE, 0), WAIT_OBJECT_0);
    check("the automatic one is reset", (int)WaitForSingleObject(automatic, 0), WAIT_TIMEOUT);
    check("the manual one is not", (int)WaitForSingleObject(go, 0), WAIT_OBJECT_0);
    ResetEvent(go);
    check("ResetEvent", (int)WaitForSingleObject(go, 0), WAIT_TIMEOUT);
    check("CloseHandle", CloseHandle(automatic), TRUE);
    check("CloseHandle again", CloseHandle(automatic), FALSE);
    check("its error", (int)GetLastError(), ERROR_INVALID_HANDLE);
    check("a wait for it", (int)WaitForSingleObject(automatic, 0), (int)WAIT_FAILED);

    {
        LARGE_INTEGER due;
        HANDLE timer = CreateWaitableTimer(NULL, FALSE, NULL);
        due.QuadPart = -200000;
        check("SetWaitableTimer", SetWaitableTimer(timer, &due, 10, NULL, NULL, FALSE), TRUE);
        check("not before its time", (int)WaitForSingleObject(timer, 0), WAIT_TIMEOUT);
        check("the first time", (int)WaitForSingleObject(timer, 10000), WAIT_OBJECT_0);
        check("the second time", (int)WaitForSingleObject(timer, 10000), WAIT_OBJECT_0);
        check("CancelWaitableTimer", CancelWaitableTimer(timer), TRUE);
        Sleep(20);
        ResetEvent(timer);
        check("no more", (int)WaitForSingleObject(timer, 50), WAIT_TIMEOUT);
        check("CloseHandle", CloseHandle(timer), TRUE);
    }

    owned_and_counted();
    files();

    before = GetTickCount64();
    Sleep(20);
    check("Sleep", GetTickCount64() - before >= 20, 1);
    SetLastError(WSAECONNRESET);
    check("GetLastError", (int)GetLastError(), WSAECONNRESET);
    check("FormatMessage", FormatMessageA(FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM, NULL, WSAECONNRESET,
                                          MAKELANGID(LANG_NEUTRAL, SUBLANG_DEFAULT), (LPSTR)&text, 0, NULL) > 0, 1);
    check("its text", strstr(text, "WSAECONNRESET") != NULL, 1);
    LocalFree(text);
    check("WSAStartup", WSAStartup(WINSOCK_VERSION, &data), 0);
    {
        SOCKET listener = socket(AF_INET, SOCK_STREAM, 0), from, to;
        struct sockaddr_in name = address("127.0.0.1", 0);
        int length = sizeof name;
        char got[4];
        DWORD count = 0;
        GIVES("bind", bind(listener, (struct sockaddr *)&name, sizeof name));
        GIVES("listen", listen(listener, 1));
        getsockname(listener, (struct sockaddr *)&name, &length);
        from = socket(AF_INET, SOCK_STREAM, 0);
        GIVES("connect", connect(from, (struct sockaddr *)&name, sizeof name));
        to = accept(listener, NULL, NULL);
        check("WriteFile to a socket", WriteFile((HANDLE)from, "four", 4, &count, NULL) && count == 4, TRUE);
        check("ReadFile from one", ReadFile((HANDLE)to, got, 4, &count, NULL) && count == 4, TRUE);
        check("what was sent", memcmp(got, "four", 4), 0);
        closesocket(from);
        closesocket(to);
        closesocket(listener);
    }
    automatic_events();
    check("events of both names", WSACloseEvent(go), TRUE);
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
