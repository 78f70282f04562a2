/* What programs use of it is included by winsock2.h, as on Windows. */
#include "winsock2.h"
