/* Another spelling of qos2.h. */
#include "qos2.h"
