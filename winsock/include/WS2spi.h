/* Another spelling of ws2spi.h. */
#include "ws2spi.h"
