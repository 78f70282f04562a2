/* The same, as many sources spell it. */
#include "ws2tcpip.h"
