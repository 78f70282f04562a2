/* What programs use of it is in ws2tcpip.h. */
#include "ws2tcpip.h"
