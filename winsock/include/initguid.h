/* DEFINE_GUID of winsock2.h defines as well as declares. */
#include "winsock2.h"
