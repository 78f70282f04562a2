/* A console program by windows.h: events, threads, critical sections, waiting, errors. Compiles as C and as C++. */
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
    check("events of both names", WSACloseEvent(go), TRUE);
    WSACleanup();
    puts(wrong ? "WRONG" : "RIGHT");
    return wrong;
}
