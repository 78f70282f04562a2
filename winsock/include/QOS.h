/* Another spelling of qos.h. */
#include "qos.h"
