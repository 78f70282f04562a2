/* Another spelling of qossp.h. */
#include "qossp.h"
