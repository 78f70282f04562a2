/* Keys from the standard input. */
#ifndef GQOS_CONIO_H
#define GQOS_CONIO_H

#include "winsock2.h"

static __inline int _kbhit(void) {
    struct gqos_pollfd input;
    input.fd = 0;
    input.events = POLLRDNORM;
    return gqos_poll(&input, 1, 0) > 0;
}
#define _getch getchar

#endif
