/* Another spelling of qosname.h. */
#include "qosname.h"
