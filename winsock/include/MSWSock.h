/* The same, as many sources spell it. */
#include "mswsock.h"
