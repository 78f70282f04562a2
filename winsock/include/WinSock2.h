/* The same, as many sources spell it. */
#include "winsock2.h"
