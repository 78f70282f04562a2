/* Winsock 1.1 by the functions of version 2, with its options of IPv4. */
#include "winsock2.h"
#include "gqos/ip_options.h"
