/* What of it Winsock programs need is in winsock2.h. */
#include "winsock2.h"
