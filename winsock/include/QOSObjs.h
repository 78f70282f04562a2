/* Another spelling of qosobjs.h. */
#include "qosobjs.h"
